// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// MappingKind is what is behind a mapping.
type MappingKind string

// Kinds of mappings.
const (
	Unknown   MappingKind = ""          // not found: it was gone before it was looked for
	File      MappingKind = "file"      // a file, or a memfd
	Anonymous MappingKind = "anonymous" // memory without a file, also shared
	Heap      MappingKind = "heap"      // memory from brk(2)
	Stack     MappingKind = "stack"     // the main thread's; those of others with [Options].ThreadStacks
	Special   MappingKind = "special"   // vDSO and the like
)

// Mapping is a range of addresses as in /proc/PID/maps.
type Mapping struct {
	Kind       MappingKind
	Start, End uint64
	Offset     uint64 // of Start in the file
	Name       string // path of a file, name of anonymous memory, [vdso]
	Protection string // "rw-"
	Shared     bool
}

func (m Mapping) String() string {
	switch {
	case m.Kind == Unknown:
		return "unknown mapping"
	case m.Name == "":
		return string(m.Kind)
	}
	return string(m.Kind) + " " + m.Name
}

// FileOffset returns the place in the file that an address of m stands for.
func (m Mapping) FileOffset(address uint64) uint64 { return address - m.Start + m.Offset }

// setName sets the kind as well: the kernel shows the kind by the name, in
// /proc/PID/maps and, with small differences, in PERF_RECORD_MMAP2.
func (m *Mapping) setName(name string) {
	switch {
	case name == "[heap]":
		m.Kind = Heap
	case name == "[stack]":
		m.Kind = Stack
	case name == "", name == "//anon":
		m.Kind = Anonymous
	case strings.HasPrefix(name, "[anon"), name == "/dev/zero (deleted)", name == "/anon_hugepage (deleted)",
		strings.HasPrefix(name, "/SYSV"):
		m.Kind, m.Name = Anonymous, name
	case strings.HasPrefix(name, "/"):
		m.Kind, m.Name = File, name
	default:
		m.Kind, m.Name = Special, name
	}
}

// space is the mappings of one process, from high to low addresses and without
// overlap. The kernel puts a new mapping below the others where it can, so what comes
// last moves the fewest: a process with 10,000 threads has 20,000 mappings.
type space []Mapping

// readSpace reads the mappings a process has now.
func readSpace(pid int) (space, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseSpace(f)
}

func parseSpace(r io.Reader) (space, error) {
	var s space
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		m, err := parseMapping(lines.Text())
		if err != nil {
			return nil, err
		}
		s = append(s, m)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading mappings: %w", err)
	}
	slices.Reverse(s)
	return s, nil
}

// parseMapping reads a line as "7f00-7f08 rw-p 00001000 fe:00 123   /a/file name".
func parseMapping(line string) (Mapping, error) {
	var m Mapping
	fields := strings.SplitN(line, " ", 6)
	if len(fields) < 5 || len(fields[1]) != 4 {
		return m, fmt.Errorf("parsing mapping %q: %w", line, errShort)
	}
	start, end, _ := strings.Cut(fields[0], "-")
	for text, value := range map[string]*uint64{start: &m.Start, end: &m.End, fields[2]: &m.Offset} {
		v, err := strconv.ParseUint(text, 16, 64)
		if err != nil {
			return m, fmt.Errorf("parsing mapping %q: %w", line, err)
		}
		*value = v
	}
	m.Protection, m.Shared = fields[1][:3], fields[1][3] == 's'
	name := ""
	if len(fields) == 6 {
		name = strings.TrimLeft(fields[5], " ")
	}
	m.setName(name)
	return m, nil
}

// find returns the mapping that contains address.
func (s space) find(address uint64) (Mapping, bool) {
	i, _ := slices.BinarySearchFunc(s, address, func(m Mapping, a uint64) int { return cmp.Compare(a, m.Start) })
	if i == len(s) || address >= s[i].End {
		return Mapping{}, false
	}
	return s[i], true
}

// put adds a new mapping in place of those it covers, as MAP_FIXED does. The kernel
// reports new mappings and not those that go; a mapping that is gone does no
// harm because nothing can fault in it.
func (s space) put(m Mapping) space {
	from, _ := slices.BinarySearchFunc(s, m.End, func(have Mapping, end uint64) int { return cmp.Compare(end, have.Start+1) })
	to := from
	var pieces space
	for to < len(s) && s[to].End > m.Start {
		pieces = append(pieces, s[to].without(m)...)
		to++
	}
	pieces = append(pieces, m)
	slices.SortFunc(pieces, func(a, b Mapping) int { return cmp.Compare(b.Start, a.Start) })
	return slices.Replace(s, from, to, pieces...)
}

// without returns what is left of m beside hole.
func (m Mapping) without(hole Mapping) []Mapping {
	var rest []Mapping
	if m.Start < hole.Start {
		before := m
		before.End = hole.Start
		rest = append(rest, before)
	}
	if m.End > hole.End {
		after := m
		after.Start, after.Offset = hole.End, m.Offset+hole.End-m.Start
		rest = append(rest, after)
	}
	return rest
}
