// SPDX-License-Identifier: Apache-2.0

// Package entries lists the ways into the kernel and how each one is observed. The ways are
// data: entries.toml.
package entries

import (
	_ "embed"
	"errors"
	"fmt"
	"regexp"

	"github.com/BurntSushi/toml"
)

//go:generate go run gen.go

//go:embed entries.toml
var tableText string

// ErrArchitecture means that the entries of an architecture are not known.
var ErrArchitecture = errors.New("the entry points of this architecture are not known")

// Entry is one way into the kernel.
type Entry struct {
	Arch    string   `toml:"arch" json:"-"` // as Go calls it
	Symbol  string   `toml:"symbol" json:"symbol"`
	Part    string   `toml:"part" json:"part,omitempty"` // of several entries with one symbol
	What    string   `toml:"what" json:"what"`
	Events  []string `toml:"events" json:"events,omitempty"`
	Row     string   `toml:"row" json:"row,omitempty"`       // of /proc/interrupts
	Tracked bool     `toml:"tracked" json:"tracked"`         // context tracking reports it
	Inside  bool     `toml:"inside" json:"inside,omitempty"` // it begins no stay: it does not come from user mode
	Why     string   `toml:"why" json:"why,omitempty"`       // what is missed, and the reason
	Sources []string `toml:"sources" json:"sources"`
}

// Table is the entries of one architecture.
type Table struct {
	entries []Entry
	pattern *regexp.Regexp // of symbols that are entries
}

type file struct {
	Patterns map[string]string `toml:"patterns"`
	Entry    []Entry           `toml:"entry"`
}

// Load returns the entries of an architecture, which has the name that Go gives
// it. The error matches [ErrArchitecture] for one that is not in the table.
func Load(arch string) (*Table, error) { return parse(tableText, arch) }

func parse(text, arch string) (*Table, error) {
	var f file
	meta, err := toml.Decode(text, &f)
	if err != nil {
		return nil, fmt.Errorf("reading the table of entries: %w", err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("reading the table of entries: unknown key %s", unknown[0])
	}
	pattern, ok := f.Patterns[arch]
	if !ok {
		return nil, fmt.Errorf("%s: %w", arch, ErrArchitecture)
	}
	t := &Table{}
	if t.pattern, err = regexp.Compile(pattern); err != nil {
		return nil, fmt.Errorf("reading the table of entries: %w", err)
	}
	for _, e := range f.Entry {
		if e.Arch == arch {
			t.entries = append(t.entries, e)
		}
	}
	return t, nil
}
