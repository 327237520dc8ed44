// SPDX-License-Identifier: Apache-2.0

package clock

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"
)

func TestOffsets(t *testing.T) {
	const shown = "monotonic       -86400  250000000\nboottime             7         0\n"
	link := func(inode string) *fstest.MapFile {
		return &fstest.MapFile{Mode: fs.ModeSymlink, Data: []byte("time:[" + inode + "]")}
	}
	for _, test := range []struct {
		name, own, children, offsets string
		want                         Offsets
		fails                        string
	}{
		{name: "no such namespaces"},
		{name: "the first one", own: "4026531834", children: "4026532281", offsets: shown},
		{name: "another", own: "4026532281", children: "4026532281", offsets: shown, want: Offsets{-86400*time.Second + 250*time.Millisecond, 7 * time.Second}},
		{name: "children in a third one", own: "4026532281", children: "4026532282", offsets: shown, fails: "start taskiso from a shell"},
		{name: "other text", own: "4026532281", children: "4026532281", offsets: "monotonic 1\n", fails: "2 fields"},
		{name: "no numbers", own: "4026532281", children: "4026532281", offsets: "monotonic 1 x\n", fails: "not two numbers"},
		{name: "no text", own: "4026532281", children: "4026532281", fails: "file does not exist"},
	} {
		t.Run(test.name, func(t *testing.T) {
			files := fstest.MapFS{}
			if test.own != "" {
				files["proc/self/ns/time"], files["proc/self/ns/time_for_children"] = link(test.own), link(test.children)
			}
			if test.offsets != "" {
				files["proc/self/timens_offsets"] = &fstest.MapFile{Data: []byte(test.offsets)}
			}
			got, err := read(files)
			if got != test.want || (err == nil) != (test.fails == "") || err != nil && !strings.Contains(err.Error(), test.fails) {
				t.Errorf("%+v, %v; want %+v, %q", got, err, test.want, test.fails)
			}
		})
	}
}

// offsetVariable makes the test binary print what it reads.
const offsetVariable = "TASKISO_TEST_TIME_NAMESPACE"

func TestMain(m *testing.M) {
	if os.Getenv(offsetVariable) != "" {
		fmt.Println(int64(Now()), int64(Here()))
		return
	}
	os.Exit(m.Run())
}

// TestNowInNamespaces compares the clock of a process in a time namespace with that of one outside.
func TestNowInNamespaces(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("making a time namespace needs root")
	}
	if _, err := os.Stat("/proc/self/ns/time"); err != nil {
		t.Skip("this kernel has no time namespaces")
	}
	for _, offset := range []time.Duration{0, 24 * time.Hour, -time.Second} {
		before := Now()
		now, here := inNamespace(t, offset)
		after := Now()
		if here < before+offset { // before Linux 6.3 only fork enters the namespace, and Go has vfork
			t.Skipf("this kernel does not enter a time namespace at exec")
		}
		if now < before || now > after || here > after+offset {
			t.Errorf("%v ahead: the clock shows %v, and here %v; want %v to %v", offset, now, here, before, after)
		}
	}
}

// inNamespace returns what a process reads whose clock is so much ahead.
func inNamespace(t *testing.T, offset time.Duration) (now, here time.Duration) {
	t.Helper()
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), offsetVariable+"=1")
	var out []byte
	ran := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread and its namespace end with this function
		err := unix.Unshare(unix.CLONE_NEWTIME)
		if err == nil {
			err = os.WriteFile(fmt.Sprintf("/proc/%d/timens_offsets", unix.Gettid()), fmt.Appendf(nil, "monotonic %d 0\n", offset/time.Second), 0)
		}
		if err == nil {
			out, err = c.Output()
		}
		ran <- err
	}()
	if err := <-ran; err != nil {
		t.Fatalf("in a time namespace %v ahead: %v", offset, err)
	}
	fields := strings.Fields(string(out))
	if len(fields) != 2 {
		t.Fatalf("it printed %q", out)
	}
	n, _ := strconv.ParseInt(fields[0], 10, 64)
	h, _ := strconv.ParseInt(fields[1], 10, 64)
	return time.Duration(n), time.Duration(h)
}
