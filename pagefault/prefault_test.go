// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPrefaultMemory(t *testing.T) {
	onThread(t)
	written, read, not := mapPages(t, 20), mapPages(t, 20), mapPages(t, 20)
	r, err := Prefault(PrefaultOptions{Memory: [][]byte{written}, Read: [][]byte{read}})
	if err != nil || len(r.Refused) > 0 {
		t.Fatal(err, r.Refused)
	}
	w := watchTest(t, Thread(0), Options{Ranges: []Range{written.span(), read.span()}})
	for n := range 20 {
		written.write(n)
		_ = read.read(n)
		not.write(n)
	}
	faults, c := stopAndRead(t, w)
	if len(faults) > 0 || c.Filtered < 20 {
		t.Errorf("faults %v, counts %+v", faults, c)
	}
	for _, m := range r.Missing {
		if m.Mapping.Start <= not.start() && not.start() < m.Mapping.End && m.Bytes >= uint64(20*page) && m.Reason == "nobody has asked for it" {
			return
		}
	}
	t.Errorf("%#x is not reported as missing", not.start())
}

func TestPrefaultRefused(t *testing.T) {
	asNobody(t, func() {
		var before unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &before); err != nil {
			t.Error(err)
			return
		}
		if before.Cur > 1<<30 {
			return // too much is allowed to be refused, and lowering it would be for all tests
		}
		r, err := Prefault(PrefaultOptions{Lock: true})
		if err == nil {
			err = errors.Join(r.Refused...)
		}
		if !errors.Is(err, unix.ENOMEM) && !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "ulimit -l") {
			t.Errorf("locking all memory: %v", err)
		}
		unix.Munlockall()
	})
}

func TestPrefaultEmpty(t *testing.T) {
	r, err := Prefault(PrefaultOptions{Memory: [][]byte{{}}})
	if err != nil || len(r.Refused) != 1 || !errors.Is(r.Refused[0], ErrEmptyRange) {
		t.Errorf("%v, refused %v", err, r.Refused)
	}
}

const smaps = `7f0000000000-7f0000004000 ---p 00000000 00:00 0 
Size:                 16 kB
Rss:                   0 kB
THPeligible:           0
VmFlags: mr mw me 
7f0000004000-7f0000008000 rw-p 00000000 00:00 0 
Size:                 16 kB
Rss:                  16 kB
Locked:               16 kB
VmFlags: rd wr lo 
7f0000008000-7f000000a000 rw-s 00000000 00:05 7    /dev/a device
Size:                  8 kB
Rss:                   4 kB
Locked:                4 kB
VmFlags: rd wr io pf 
7ffc00100000-7ffc00104000 r--p 00000000 00:00 0                          [vvar]
Size:                 16 kB
Rss:                   0 kB
VmFlags: rd mr de io pf 
`

func TestReadSmaps(t *testing.T) {
	var r PrefaultReport
	if err := r.readSmaps(strings.NewReader(smaps)); err != nil {
		t.Fatal(err)
	}
	if r.Locked != 20<<10 || len(r.Missing) != 3 {
		t.Fatalf("%+v", r)
	}
	if m := r.Missing[0]; m.Bytes != 16<<10 || !strings.HasPrefix(m.Reason, "no access") {
		t.Errorf("%+v", m)
	}
	if m := r.Missing[2]; m.Reason != "belongs to the kernel" {
		t.Errorf("%+v", m)
	}
	if m := r.Missing[1]; m.Bytes != 4<<10 || m.Mapping.Name != "/dev/a device" || !strings.HasPrefix(m.Reason, "device") {
		t.Errorf("%+v", m)
	}
}
