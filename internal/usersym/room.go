// SPDX-License-Identifier: Apache-2.0

package usersym

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unsafe"
)

// room is how many bytes may still be kept of all files together: the programs at hand choose them. A section can be a
// thousand times as large as it is compressed, and all symbols of a table can have one long name, of which each gets a copy.
type room uint64

const maxContents room = 1 << 30

// symbolSize is what a symbol takes beside its name, while a table is read.
const symbolSize = uint64(unsafe.Sizeof(symbol{}) + unsafe.Sizeof(elf.Symbol{}))

// takes reports whether there is room for so many bytes more, and takes it.
func (r *room) takes(n uint64) bool {
	if n > uint64(*r) {
		return false
	}
	*r -= room(n)
	return true
}

// takesTable is takes for the symbols of a table, each with a copy of its name. It is false where there is no table.
func (r *room) takesTable(f file, of elf.SectionType) bool {
	table := f.SectionByType(of)
	if table == nil || int(table.Link) >= len(f.Sections) {
		return false
	}
	names := f.Sections[table.Link]
	if !r.takes(table.Size) || !r.takes(names.Size) {
		return false
	}
	entries, err := table.Data()
	text, errText := names.Data()
	if err != nil || errText != nil {
		return false
	}
	size := elf.Sym64Size
	if f.Class == elf.ELFCLASS32 {
		size = elf.Sym32Size
	}
	for ; len(entries) >= size; entries = entries[size:] {
		at := min(int(f.ByteOrder.Uint32(entries)), len(text)) // st_name comes first in both classes
		name, _, _ := bytes.Cut(text[at:], []byte{0})
		if !r.takes(symbolSize + uint64(len(name))) {
			return false
		}
	}
	return true
}

// takesDebug is takes for the debug information of a file.
func (r *room) takesDebug(f file) bool {
	for _, s := range f.Sections {
		if !strings.HasPrefix(s.Name, ".debug_") && !strings.HasPrefix(s.Name, ".zdebug_") {
			continue
		}
		s.Open() // sets the size of one that is compressed in the older way
		if !r.takes(s.Size) {
			return false
		}
	}
	return true
}

// Bounds of what names the sections of a file. Programs have some 40, with names of some letters.
const (
	maxSections     = 4096
	maxSectionNames = 64 << 10
)

// checkSections refuses files of which the names of sections alone would take much memory: debug/elf copies one for each.
// Places are those of Elf64_Ehdr and Elf64_Shdr, or those of 32 bits, in include/uapi/linux/elf.h.
func checkSections(from io.ReaderAt) error {
	var header, names [64]byte
	order := binary.LittleEndian
	if _, err := from.ReadAt(header[:], 0); err != nil {
		return fmt.Errorf("reading the header: %w", err)
	}
	small := elf.Class(header[elf.EI_CLASS]) == elf.ELFCLASS32
	table, counts := order.Uint64(header[40:]), header[58:] // e_shoff; e_shentsize, e_shnum, e_shstrndx
	if small {
		table, counts = uint64(order.Uint32(header[32:])), header[46:]
	}
	entry, sections, index := order.Uint16(counts), order.Uint16(counts[2:]), order.Uint16(counts[4:])
	if table == 0 || index == 0 {
		return nil // no sections, or no names
	}
	if _, err := from.ReadAt(names[:], int64(table)+int64(index)*int64(entry)); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading where the names of sections are: %w", err)
	}
	flags, size := order.Uint64(names[8:]), order.Uint64(names[32:])
	if small {
		flags, size = uint64(order.Uint32(names[8:])), uint64(order.Uint32(names[20:]))
	}
	if elf.Data(header[elf.EI_DATA]) != elf.ELFDATA2LSB || sections == 0 || sections > maxSections || index >= sections || elf.SectionFlag(flags)&elf.SHF_COMPRESSED != 0 || size > maxSectionNames {
		return errors.New("its sections are not those of a program")
	}
	return nil
}
