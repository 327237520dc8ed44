// SPDX-License-Identifier: Apache-2.0

package change

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Schema is one line of a file of resctrl, or a part of it: "L3:0=fff0".
type Schema struct{ Text }

// MarshalText returns the name in journals.
func (Schema) MarshalText() ([]byte, error) { return []byte("schemata"), nil }

func (Schema) same(text, value string) bool {
	return schemaOf(text, value) == schemaOf(value, value)
}

func (Schema) read(files Files, c Change) (string, error) {
	text, err := files.Read(c.Path)
	if err == nil {
		text = schemaOf(text, c.To)
	}
	return strings.TrimSpace(text), err
}

// place: the ways of a group that goes as a whole are not restored.
func (k Schema) place(c Change, got string) Place {
	if c.From == "" {
		return AsBefore
	}
	return k.Text.place(c, got)
}

func (Schema) describe(c Change) string {
	if c.From == "" {
		return fmt.Sprintf("%s: %s", c.Path, c.To)
	}
	return fmt.Sprintf("%s: %s → %s", c.Path, c.From, c.To)
}

// ParseSchema reads the line of a resource, as "    L3:0=fffff;1=fffff": ways by
// the number of the cache. One that is not there has none.
func ParseSchema(text, resource string) (map[int]uint64, error) {
	domains := map[int]uint64{}
	for line := range strings.Lines(text) {
		name, list, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name != resource {
			continue
		}
		for _, domain := range strings.Split(list, ";") {
			number, ways, _ := strings.Cut(domain, "=")
			id, err := strconv.Atoi(strings.TrimSpace(number))
			if err != nil || id < 0 {
				return nil, fmt.Errorf("%q: not of the form number=ways", domain)
			}
			if domains[id], err = strconv.ParseUint(strings.TrimSpace(ways), 16, 64); err != nil {
				return nil, fmt.Errorf("%q: not of the form number=ways", domain)
			}
		}
	}
	return domains, nil
}

// FormatSchema writes what [ParseSchema] reads.
func FormatSchema(resource string, domains map[int]uint64) string {
	var ids []int
	for id := range domains {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	var parts []string
	for _, id := range ids {
		parts = append(parts, fmt.Sprintf("%d=%x", id, domains[id]))
	}
	return resource + ":" + strings.Join(parts, ";")
}

// schemaOf takes the caches out of a file that a value names.
func schemaOf(text, value string) string {
	name, _, _ := strings.Cut(value, ":")
	want, err := ParseSchema(value, name)
	if err != nil {
		return text
	}
	all, err := ParseSchema(text, name)
	if err != nil {
		return text
	}
	for id := range all {
		if _, named := want[id]; !named {
			delete(all, id)
		}
	}
	return FormatSchema(name, all)
}
