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
	"strconv"
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

// Load reads the text symbols of a file in the form of /proc/kallsyms.
func Load(r io.Reader) (*Table, error) {
	var (
		t     Table
		names []byte
		lines = bufio.NewScanner(r)
	)
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
	t.names, t.symbols = string(names), slices.Clip(slices.Clone(t.symbols))
	// Symbols of modules follow those of the kernel in any order. A stable sort
	// keeps the first of several names for one address in front.
	slices.SortStableFunc(t.symbols, func(a, b symbol) int { return cmp.Compare(a.addr, b.addr) })
	return &t, nil
}

// parseLine returns the address and name of a text symbol, or no name for
// symbols of other types. It allocates nothing: there are many lines.
func parseLine(line []byte) (addr uint64, name []byte, err error) {
	hex, rest, _ := bytes.Cut(line, []byte(" "))
	kind, rest, _ := bytes.Cut(rest, []byte(" "))
	name, _, _ = bytes.Cut(rest, []byte("\t")) // a module's name follows
	if len(kind) != 1 || len(name) == 0 {
		return 0, nil, fmt.Errorf("parsing kernel symbol %q: want address, type and name", line)
	}
	addr, err = strconv.ParseUint(string(hex), 16, 64)
	if err != nil {
		return 0, nil, fmt.Errorf("parsing kernel symbol %q: %w", line, err)
	}
	if !bytes.Contains([]byte("tTwW"), kind) {
		return 0, nil, nil
	}
	return addr, name, nil
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
