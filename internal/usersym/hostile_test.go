// SPDX-License-Identifier: Apache-2.0

package usersym

import (
	"bytes"
	"compress/zlib"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A program chooses what its mappings are called, and what is there when somebody looks.
func TestWhatIsNoFileHasNoNames(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	huge := filepath.Join(dir, "huge")
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{pipe, filepath.Join(dir, "tmp", "perf-7.map")} {
		if err := unix.Mkfifo(name, 0o600); err != nil { // nobody has the other end: opening it waits
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, maxFile+1); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, huge, "/dev/zero", "/dev/tty", dir, "/proc/self/mem", filepath.Join(dir, "none")} {
		if got := New("").InFile(path, 0x1000); got != (Location{}) {
			t.Errorf("%s: %+v", path, got)
		}
	}
	if got := New(dir).Compiled(7, 0x1000); got != (Location{}) {
		t.Errorf("a pipe instead of a map: %+v", got)
	}
}

// section is one of a crafted file.
type section struct {
	name  uint32 // where that is in the names
	kind  elf.SectionType
	flags elf.SectionFlag
	link  uint32
	data  []byte
}

// crafted returns a file of these sections, behind an empty one and in front of that of their names.
func crafted(names string, compressed elf.SectionFlag, sections ...section) []byte {
	text := []byte("\x00" + names + "\x00")
	if compressed != 0 {
		text = compress(text)
	}
	sections = append(append([]section{{}}, sections...), section{kind: elf.SHT_STRTAB, flags: compressed, data: text})
	h := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1, Shentsize: 64, Shnum: uint16(len(sections)), Shstrndx: uint16(len(sections) - 1)}
	copy(h.Ident[:], elf.ELFMAG+string([]byte{byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1}))
	var data, table bytes.Buffer
	for _, s := range sections {
		binary.Write(&table, binary.LittleEndian, elf.Section64{
			Name: s.name, Type: uint32(s.kind), Flags: uint64(s.flags), Link: s.link, Off: uint64(64 + data.Len()), Size: uint64(len(s.data)),
		})
		data.Write(s.data)
	}
	h.Shoff = uint64(64 + data.Len())
	var all bytes.Buffer
	binary.Write(&all, binary.LittleEndian, h)
	return slices.Concat(all.Bytes(), data.Bytes(), table.Bytes())
}

// compress returns the contents of a compressed section.
func compress(data []byte) []byte {
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, elf.Chdr64{Type: uint32(elf.COMPRESS_ZLIB), Size: uint64(len(data))})
	w := zlib.NewWriter(&b)
	w.Write(data)
	w.Close()
	return b.Bytes()
}

// A small file can say that it has very much.
func TestSmallFilesTakeLittle(t *testing.T) {
	const most = 32 << 20
	zeros := make([]byte, 128<<20)
	symbols := bytes.Repeat(append([]byte{1, 0, 0, 0, byte(elf.STT_FUNC), 0, 1, 0}, make([]byte, 16)...), 1000)
	long := append(append([]byte{0}, bytes.Repeat([]byte("x"), 256<<10)...), 0)
	older := append(binary.BigEndian.AppendUint64([]byte("ZLIB"), uint64(len(zeros))), compress(zeros)[24:]...)
	many := slices.Repeat([]section{{name: 1, kind: elf.SHT_PROGBITS}}, 300)
	for name, file := range map[string][]byte{
		"symbols of one long name": crafted("s", 0, section{kind: elf.SHT_SYMTAB, link: 2, data: symbols}, section{kind: elf.SHT_STRTAB, data: long}),
		"compressed symbols":       crafted("s", 0, section{kind: elf.SHT_SYMTAB, flags: elf.SHF_COMPRESSED, link: 2, data: compress(zeros)}, section{kind: elf.SHT_STRTAB, data: []byte{0}}),
		"compressed information":   crafted(".debug_info", 0, section{name: 1, kind: elf.SHT_PROGBITS, flags: elf.SHF_COMPRESSED, data: compress(zeros)}),
		"compressed as of old":     crafted(".zdebug_info", 0, section{name: 1, kind: elf.SHT_PROGBITS, data: older}),
		"a compressed build ID":    crafted(".note.gnu.build-id", 0, section{name: 1, kind: elf.SHT_NOTE, flags: elf.SHF_COMPRESSED, data: compress(zeros)}),
		"sections of a long name":  crafted(strings.Repeat("x", 1<<20), 0, many...),
		"compressed names":         crafted(string(zeros), elf.SHF_COMPRESSED),
	} {
		path := filepath.Join(t.TempDir(), "program")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		s := New("")
		s.room = 1 << 20
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s.InFile(path, 0x1000)
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > most {
			t.Errorf("%s: a file of %d bytes takes %d MiB of memory", name, len(file), got>>20)
		}
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tmp", "perf-7.map"), bytes.Repeat([]byte("0 1 x\n"), 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	s := New(dir)
	s.room = 1 << 20
	s.Compiled(7, 0)
	if got := len(s.maps[7]); got == 0 || got > 1<<20/int(symbolSize) {
		t.Errorf("a map of 100,000 functions takes %d", got)
	}
}

// FuzzInFile damages a program: whatever is in it, there are names or none.
func FuzzInFile(f *testing.F) {
	self, err := os.ReadFile("/bin/true")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(0, []byte{0x7f, 'E', 'L', 'F'}, uint64(0x2000))
	f.Add(0x3c, []byte{0xff, 0xff}, uint64(0x2000))                  // number of sections
	f.Add(0x28, []byte{0xff, 0xff, 0xff, 0x7f}, uint64(0x2000))      // where they begin
	f.Add(len(self)-200, []byte{0xff, 0xff, 0xff, 0xff}, uint64(16)) // a section's header
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, at int, damage []byte, offset uint64) {
		program := append([]byte(nil), self...)
		if at < 0 {
			at = -(at + 1)
		}
		copy(program[at%len(program):], damage)
		path := filepath.Join(dir, "program")
		if err := os.WriteFile(path, program, 0o600); err != nil {
			t.Fatal(err)
		}
		New("").InFile(path, offset)
	})
}
