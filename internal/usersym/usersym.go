// SPDX-License-Identifier: Apache-2.0

// Package usersym names code of user programs: the function, source file and line
// of a place in an ELF file, and functions that a just-in-time compiler has noted in
// /tmp/perf-PID.map.
package usersym

import (
	"bufio"
	"cmp"
	"debug/dwarf"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/ianlancetaylor/demangle"
	"golang.org/x/sys/unix"
)

// Location is what is known of a place in code; empty and 0 what is not.
type Location struct {
	Function string
	File     string
	Line     int
}

// Symbols finds locations. It keeps what it has read of each file; its methods are
// not safe for concurrent use. Root is put before paths, for example /proc/PID/root.
type Symbols struct {
	Root  string
	files map[string]*object
	maps  map[int]table
	room  room
}

// New returns Symbols that look for files from root on, "" for the usual one.
func New(root string) *Symbols {
	return &Symbols{Root: root, files: make(map[string]*object), maps: make(map[int]table), room: maxContents}
}

// InFile returns the location of a byte of an ELF file. A file that cannot be read
// has no names: a stripped or deleted file is not an error.
func (s *Symbols) InFile(path string, offset uint64) Location {
	o, ok := s.files[path]
	if !ok {
		if o = openObject(s.Root+path, &s.room); o.loads == nil {
			o = openObject(path, &s.room) // the root of a process goes with it
		}
		s.files[path] = o
	}
	return o.location(offset)
}

// Compiled returns the location of an address that process pid has compiled itself.
func (s *Symbols) Compiled(pid int, address uint64) Location {
	t, ok := s.maps[pid]
	if !ok {
		t = readPerfMap(fmt.Sprintf("%s/tmp/perf-%d.map", s.Root, pid), &s.room)
		s.maps[pid] = t
	}
	return Location{Function: t.find(address)}
}

// object is what is known of one ELF file.
type object struct {
	loads   []elf.ProgHeader
	symbols table
	debug   *dwarf.Data // nil if there is none
	units   []unit      // of debug, by address
	known   map[uint64]Location
}

// unit is a range of addresses of one compilation unit.
type unit struct {
	start, end uint64
	entry      *dwarf.Entry
}

// debugDir is where distributions put debug information, by build ID.
const debugDir = "/usr/lib/debug/.build-id/"

// maxFile bounds what is read of one file: the programs at hand choose them.
const maxFile = 1 << 30

// openRegular opens a file that a program has named. It does not wait for the
// other end of a pipe, and refuses devices.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxFile) {
		err = fmt.Errorf("reading %s: not a regular file of at most %d bytes", path, maxFile)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// file is an ELF file and what it is read from.
type file struct {
	*elf.File
	from *os.File
}

func (f file) Close() error { return errors.Join(f.File.Close(), f.from.Close()) }

func openELF(path string) (file, error) {
	from, err := openRegular(path)
	if err != nil {
		return file{}, err
	}
	var f *elf.File
	if err = checkSections(from); err == nil {
		f, err = elf.NewFile(from)
	}
	if err != nil {
		from.Close()
		return file{}, err
	}
	return file{f, from}, nil
}

// openObject reads what names code in a file. debug/elf and debug/dwarf are not
// made for files that mean harm: one that makes them panic has no names.
func openObject(path string, left *room) (o *object) {
	o = &object{known: make(map[uint64]Location)}
	defer func() {
		if recover() != nil {
			o = &object{known: make(map[uint64]Location)}
		}
	}()
	f, err := openELF(path)
	if err != nil {
		return o
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD {
			o.loads = append(o.loads, p.ProgHeader)
		}
	}
	o.add(f, left)
	if id := buildID(f, left); len(id) > 2 {
		if d, err := openELF(debugDir + id[:2] + "/" + id[2:] + ".debug"); err == nil {
			defer d.Close()
			o.add(d, left)
		}
	}
	o.symbols.sort()
	o.findUnits()
	return o
}

// findUnits makes an index of the debug information: to look for each address anew
// takes milliseconds in large programs.
func (o *object) findUnits() {
	if o.debug == nil {
		return
	}
	r := o.debug.Reader()
	for {
		entry, err := r.Next()
		if err != nil || entry == nil {
			break
		}
		ranges, _ := o.debug.Ranges(entry) // none: a unit without code
		for _, bounds := range ranges {
			o.units = append(o.units, unit{bounds[0], bounds[1], entry})
		}
		r.SkipChildren()
	}
	slices.SortFunc(o.units, func(a, b unit) int { return cmp.Compare(a.start, b.start) })
}

// add takes the symbols of f, and its debug information unless there is some already, as far as there is room.
func (o *object) add(f file, left *room) {
	for _, of := range []struct {
		table elf.SectionType
		read  func() ([]elf.Symbol, error)
	}{{elf.SHT_SYMTAB, f.Symbols}, {elf.SHT_DYNSYM, f.DynamicSymbols}} {
		if !left.takesTable(f, of.table) {
			continue
		}
		symbols, err := of.read()
		if err != nil {
			continue
		}
		for _, s := range symbols {
			if elf.ST_TYPE(s.Info) == elf.STT_FUNC && s.Section != elf.SHN_UNDEF {
				o.symbols = append(o.symbols, symbol{s.Value, s.Value + s.Size, s.Name})
			}
		}
	}
	if (o.debug == nil && f.Section(".debug_info") != nil || f.Section(".zdebug_info") != nil) && left.takesDebug(f) {
		o.debug, _ = f.DWARF() // without it there are no lines
	}
}

func buildID(f file, left *room) string {
	s := f.Section(".note.gnu.build-id")
	if s == nil || !left.takes(s.Size) {
		return ""
	}
	note, err := s.Data()
	const header = 16 // sizes, type and "GNU\0"
	if err != nil || len(note) < header {
		return ""
	}
	return hex.EncodeToString(note[header:])
}

func (o *object) location(offset uint64) Location {
	l, ok := o.known[offset]
	if !ok {
		l = o.find(offset)
		o.known[offset] = l
	}
	return l
}

func (o *object) find(offset uint64) (found Location) {
	defer func() {
		if recover() != nil { // see openObject
			found = Location{}
		}
	}()
	for _, p := range o.loads {
		if p.Off <= offset && offset < p.Off+p.Filesz {
			address := offset - p.Off + p.Vaddr
			l := Location{Function: demangle.Filter(o.symbols.find(address), demangle.NoParams)}
			l.File, l.Line = o.line(address)
			return l
		}
	}
	return Location{}
}

func (o *object) line(address uint64) (string, int) {
	i, found := slices.BinarySearchFunc(o.units, address, func(u unit, a uint64) int { return cmp.Compare(u.start, a) })
	if !found {
		i--
	}
	if i < 0 || address >= o.units[i].end {
		return "", 0
	}
	lines, err := o.debug.LineReader(o.units[i].entry)
	if err != nil || lines == nil {
		return "", 0
	}
	var entry dwarf.LineEntry
	if err := lines.SeekPC(address, &entry); err != nil || entry.File == nil {
		return "", 0
	}
	return entry.File.Name, entry.Line
}

type symbol struct {
	start, end uint64
	name       string
}

// table is symbols by address.
type table []symbol

func (t table) sort() {
	slices.SortStableFunc(t, func(a, b symbol) int { return cmp.Compare(a.start, b.start) })
}

func (t table) find(address uint64) string {
	i, found := slices.BinarySearchFunc(t, address, func(s symbol, a uint64) int { return cmp.Compare(s.start, a) })
	if !found {
		i--
	}
	if i < 0 {
		return ""
	}
	// Symbols written in assembly may have no size: they go on to the next.
	if s := t[i]; address < s.end || s.end == s.start {
		return s.name
	}
	return ""
}

// readPerfMap reads lines of "START SIZE NAME" with numbers in base 16, as perf
// does (tools/perf/Documentation/jit-interface.txt). No file, no names.
func readPerfMap(path string, left *room) table {
	f, err := openRegular(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	var t table
	lines := bufio.NewScanner(f)
	for lines.Scan() && left.takes(symbolSize+uint64(len(lines.Bytes()))) {
		fields := strings.SplitN(lines.Text(), " ", 3)
		if len(fields) < 3 {
			continue
		}
		start, err1 := strconv.ParseUint(fields[0], 16, 64)
		size, err2 := strconv.ParseUint(fields[1], 16, 64)
		if err1 == nil && err2 == nil {
			t = append(t, symbol{start, start + size, fields[2]})
		}
	}
	t.sort()
	return t
}
