// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"reflect"
	"strings"
	"testing"
)

const mapsText = `55d0a0000000-55d0a0021000 r-xp 00002000 fe:00 1234                       /usr/bin/a program
55d0a1000000-55d0a1021000 rw-p 00000000 00:00 0                          [heap]
7f0000000000-7f0000010000 rw-s 00000000 00:01 99                         /dev/zero (deleted)
7f0000020000-7f0000030000 rw-p 00000000 00:00 0 
7f0000040000-7f0000050000 rw-p 00000000 00:00 0                          [anon:arena]
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]
7ffc00100000-7ffc00102000 r-xp 00000000 00:00 0                          [vdso]
`

func TestParseSpace(t *testing.T) {
	s, err := parseSpace(strings.NewReader(mapsText))
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[uint64]Mapping{
		0x55d0a0000000: {File, 0x55d0a0000000, 0x55d0a0021000, 0x2000, "/usr/bin/a program", "r-x", false},
		0x55d0a1000fff: {Heap, 0x55d0a1000000, 0x55d0a1021000, 0, "", "rw-", false},
		0x7f000000ffff: {Anonymous, 0x7f0000000000, 0x7f0000010000, 0, "/dev/zero (deleted)", "rw-", true},
		0x7f0000020000: {Anonymous, 0x7f0000020000, 0x7f0000030000, 0, "", "rw-", false},
		0x7f0000040000: {Anonymous, 0x7f0000040000, 0x7f0000050000, 0, "[anon:arena]", "rw-", false},
		0x7ffc00000000: {Stack, 0x7ffc00000000, 0x7ffc00021000, 0, "", "rw-", false},
		0x7ffc00100001: {Special, 0x7ffc00100000, 0x7ffc00102000, 0, "[vdso]", "r-x", false},
	} {
		if got, ok := s.find(address); !ok || got != want {
			t.Errorf("%#x: %+v, want %+v", address, got, want)
		}
	}
	for _, address := range []uint64{0, 0x55d0a0021000, 0x7f0000010000, 0x7ffc00102000, ^uint64(0)} {
		if got, ok := s.find(address); ok {
			t.Errorf("%#x: %+v, want nothing", address, got)
		}
	}
}

func TestParseMappingErrors(t *testing.T) {
	for _, line := range []string{"", "rubbish", "1-2 rw 0 0 0", "x-2 rw-p 0 0 0", "1-y rw-p 0 0 0", "1-2 rw-p z 0 0"} {
		if m, err := parseMapping(line); err == nil {
			t.Errorf("%q: %+v", line, m)
		}
	}
}

func TestPut(t *testing.T) {
	file := Mapping{Kind: File, Start: 100, End: 200, Offset: 1000, Name: "/f"}
	for _, tc := range []struct {
		name       string
		start, end uint64
		want       space
	}{
		{"before", 50, 100, space{file, {Start: 50, End: 100}}},
		{"after", 200, 210, space{{Start: 200, End: 210}, file}},
		{"over all", 90, 300, space{{Start: 90, End: 300}}},
		{"the same", 100, 200, space{{Start: 100, End: 200}}},
		{"over the start", 90, 120, space{{Kind: File, Start: 120, End: 200, Offset: 1020, Name: "/f"}, {Start: 90, End: 120}}},
		{"over the end", 150, 250, space{{Start: 150, End: 250}, {Kind: File, Start: 100, End: 150, Offset: 1000, Name: "/f"}}},
		{"in the middle", 120, 130, space{
			{Kind: File, Start: 130, End: 200, Offset: 1030, Name: "/f"}, {Start: 120, End: 130},
			{Kind: File, Start: 100, End: 120, Offset: 1000, Name: "/f"},
		}},
	} {
		got := space{file}.put(Mapping{Start: tc.start, End: tc.end})
		if !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
}

func TestIsOnStack(t *testing.T) {
	inside, file := Mapping{Kind: Anonymous, Start: 0x100000, End: 0x200000}, Mapping{Kind: File, Start: 0x100000, End: 0x200000}
	for _, tc := range []struct {
		m           Mapping
		address, sp uint64
		want        bool
	}{
		{inside, 0x180000, 0x180008, true},
		{inside, 0x17f008, 0x180008, true},
		{inside, 0x17f007, 0x180008, false},
		{inside, 0x190007, 0x180008, true},
		{inside, 0x190008, 0x180008, false},
		{inside, 0x180000, 0x200008, false}, // the stack is elsewhere
		{file, 0x180000, 0x180008, false},
		{Mapping{}, 0x180000, 0x180008, true},
		{Mapping{}, 0x100, 0, false}, // stack pointers were not asked for
	} {
		if got := isOnStack(tc.m, tc.address, tc.sp); got != tc.want {
			t.Errorf("%v, %#x, stack pointer %#x: %v", tc.m, tc.address, tc.sp, got)
		}
	}
}

// put agrees with a table of who is at each address.
func FuzzPut(f *testing.F) {
	f.Add([]byte{0, 10, 5, 3, 2, 20, 8, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		var s space
		var want [512]uint64
		for i := 0; i+1 < len(data); i += 2 {
			start, end := uint64(data[i]), uint64(data[i])+uint64(data[i+1])
			if start == end {
				continue
			}
			s = s.put(Mapping{Start: start, End: end, Offset: start, Kind: File, Name: string(rune('a' + i))})
			for a := start; a < end; a++ {
				want[a] = uint64('a' + i)
			}
		}
		for a, who := range want {
			m, ok := s.find(uint64(a))
			if ok != (who != 0) || ok && (m.Name != string(rune(who)) || m.FileOffset(uint64(a)) != uint64(a)) {
				t.Fatalf("address %d: %+v, want %c", a, m, rune(who))
			}
		}
	})
}

// What the kernel writes is trusted to be well-formed, but not to the point of a crash.
func FuzzParse(f *testing.F) {
	f.Add([]byte{9, 0, 0, 0, 0, 0, 16, 0, 1, 2, 3, 4, 5, 6, 7, 8}, true, 0)
	f.Add([]byte{10, 0, 0, 0, 0, 0, 8, 0}, false, 1)
	f.Fuzz(func(t *testing.T, data []byte, all bool, tid int) {
		n := 0
		l := layout{pid: tid, tid: tid, ids: all, stackPointer: all, stack: all}
		if err := l.parse(data, func(record) { n++ }); err == nil && n > len(data)/headerSize {
			t.Errorf("%d records in %d bytes", n, len(data))
		}
	})
}
