// SPDX-License-Identifier: Apache-2.0

// Package ksym resolves kernel addresses to symbols.
package ksym

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
)

// ErrRestricted means that the kernel hides its addresses from this process.
var ErrRestricted = errors.New("kernel addresses are hidden; with kernel.kptr_restrict=1 root can see them")

// Table resolves addresses of kernel text. It may be used by several goroutines.
//
// A kernel has some hundred thousand symbols, so the names are kept in one
// string and a symbol takes 16 bytes beside its name.
type Table struct {
	symbols []symbol
	names   string
}

type symbol struct {
	addr       uint64
	start, len uint32 // of its name
}

// usualSymbols is a little more than the text symbols that Debian's kernels have, so that no table has to grow.
const usualSymbols = 1 << 17

// Load reads the text symbols of a file in the form of /proc/kallsyms.
func Load(r io.Reader) (*Table, error) {
	t := Table{symbols: make([]symbol, 0, usualSymbols)}
	names := make([]byte, 0, 24*usualSymbols)
	lines := bufio.NewScanner(r)
	hidden := true
	for lines.Scan() {
		addr, name, err := parseLine(lines.Bytes())
		if err != nil {
			return nil, err
		}
		if name == nil {
			continue
		}
		hidden = hidden && addr == 0
		t.symbols = append(t.symbols, symbol{addr, uint32(len(names)), uint32(len(name))})
		names = append(names, name...)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading kernel symbols: %w", err)
	}
	if hidden {
		return nil, ErrRestricted
	}
	t.names = string(names)
	t.sort()
	return &t, nil
}

// sort puts symbols in the order of their addresses. Symbols of modules, few, follow those of the kernel, which are in
// order, in any order. The first of several names for one address stays in front.
func (t *Table) sort() {
	byAddress := func(a, b symbol) int { return cmp.Compare(a.addr, b.addr) }
	if !slices.IsSortedFunc(t.symbols, byAddress) {
		slices.SortStableFunc(t.symbols, byAddress)
	}
}

// parseLine returns the address and name of a text symbol, or no name for symbols of other types. There are 200,000 lines,
// and reading them is a third of what starting takes: so it goes through each once, and allocates nothing.
func parseLine(line []byte) (addr uint64, name []byte, err error) {
	addr, digits := parseHex(line)
	kind := digits + 1 // after a space
	if digits == 0 || digits > 16 || len(line) < kind+3 || line[digits] != ' ' || line[kind+1] != ' ' {
		return 0, nil, fmt.Errorf("parsing kernel symbol %q: want address, type and name", line)
	}
	name = line[kind+2:]
	if end := bytes.IndexByte(name, '\t'); end >= 0 { // a module's name follows
		name = name[:end]
	}
	if len(name) == 0 {
		return 0, nil, fmt.Errorf("parsing kernel symbol %q: want address, type and name", line)
	}
	switch line[kind] {
	case 't', 'T', 'w', 'W':
		return addr, name, nil
	}
	return 0, nil, nil
}

// parseHex returns the number that text begins with, and how many digits that has. More than 16 overflow.
func parseHex(text []byte) (n uint64, digits int) {
	for _, c := range text {
		var digit byte
		switch {
		case '0' <= c && c <= '9':
			digit = c - '0'
		case 'a' <= c && c <= 'f':
			digit = c - 'a' + 10
		case 'A' <= c && c <= 'F':
			digit = c - 'A' + 10
		default:
			return n, digits
		}
		n = n<<4 | uint64(digit)
		digits++
	}
	return n, digits
}

// maxOffset is far beyond the length of any function: what is further from the
// symbol below it lies in no known function, but for instance in a BPF program.
const maxOffset = 1 << 20

// Lookup returns the symbol addr lies in and the distance to its beginning.
func (t *Table) Lookup(addr uint64) (name string, offset uint64, ok bool) {
	i, found := slices.BinarySearchFunc(t.symbols, addr, func(s symbol, addr uint64) int { return cmp.Compare(s.addr, addr) })
	if !found {
		i--
	}
	if i < 0 {
		return "", 0, false
	}
	for i > 0 && t.symbols[i-1].addr == t.symbols[i].addr {
		i--
	}
	s := t.symbols[i]
	if addr-s.addr > maxOffset {
		return "", 0, false
	}
	return t.names[s.start : s.start+s.len], addr - s.addr, true
}

// Address returns where the function of that name begins, or 0 if there is none.
func (t *Table) Address(name string) uint64 {
	for _, s := range t.symbols {
		if t.names[s.start:s.start+s.len] == name {
			return s.addr
		}
	}
	return 0
}

// Name returns the symbol addr lies in, without the offset, or the address
// itself in hexadecimal. It works on a nil table, which knows no symbol.
func (t *Table) Name(addr uint64) string {
	if t != nil {
		if name, _, ok := t.Lookup(addr); ok {
			return name
		}
	}
	return fmt.Sprintf("%#x", addr)
}
