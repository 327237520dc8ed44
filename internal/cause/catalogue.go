// SPDX-License-Identifier: Apache-2.0

package cause

import (
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

//go:embed catalogue.toml
var catalogueText string

// ErrUnknown means that the catalogue has no cause of that id.
var ErrUnknown = errors.New("no such cause")

// Catalogue is what can enter the kernel: how to recognise it, what it is and
// what removes it. It does not change and may be used by several goroutines.
type Catalogue struct {
	rows     []Row
	rules    map[string][]*rule // by entry, in the order in which they are tried
	carriers map[string]bool
	senders  map[string]bool // all that any rule asks for
}

// Row is one cause.
type Row struct {
	ID          string   `toml:"id" json:"id"`
	Title       string   `toml:"title" json:"title"`
	Explanation string   `toml:"explanation" json:"explanation"`
	Kernels     string   `toml:"kernels" json:"kernels"`                     // those that have it
	Visible     string   `toml:"visible,omitempty" json:"visible,omitempty"` // how it shows, if no event names it
	Remedies    []Remedy `toml:"remedy" json:"remedies"`
	// Sources are functions of the kernel as "path:function", files of its
	// documentation, or addresses.
	Sources []string `toml:"sources" json:"sources"`
}

// file is the form of catalogue.toml.
type file struct {
	Entries  map[string][]string `toml:"entries"`
	Carriers []string            `toml:"carriers"`
	Cause    []struct {
		Row
		rule
	} `toml:"cause"`
}

// Load returns the catalogue that is part of the program.
func Load() (*Catalogue, error) { return parse(catalogueText) }

func parse(text string) (*Catalogue, error) {
	var f file
	meta, err := toml.Decode(text, &f)
	if err != nil {
		return nil, fmt.Errorf("reading the catalogue of causes: %w", err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("reading the catalogue of causes: unknown key %s", unknown[0])
	}
	c := &Catalogue{rules: make(map[string][]*rule), carriers: set(f.Carriers), senders: make(map[string]bool)}
	entries := entryNames()
	for i := range f.Cause {
		if err := c.add(f.Cause[i].Row, &f.Cause[i].rule, f.Entries, entries); err != nil {
			return nil, fmt.Errorf("reading the catalogue of causes: cause %d %q: %w", i+1, f.Cause[i].Row.ID, err)
		}
	}
	return c, nil
}

func (c *Catalogue) add(row Row, r *rule, groups map[string][]string, entries map[string]bool) error {
	if err := row.check(c); err != nil {
		return err
	}
	for i := range row.Remedies {
		if err := row.Remedies[i].prepare(); err != nil {
			return err
		}
	}
	c.rows = append(c.rows, row)
	if row.Visible != "" {
		if !r.isEmpty() {
			return errors.New("it has both \"visible\", which is for a cause that no event names, and a rule that names it")
		}
		return nil
	}
	if err := r.prepare(row, groups, entries); err != nil {
		return err
	}
	for _, entry := range r.entries {
		c.rules[entry] = append(c.rules[entry], r)
	}
	for _, function := range r.Sender {
		c.senders[function] = true
	}
	return nil
}

// check returns an error that names what a row lacks.
func (row Row) check(c *Catalogue) error {
	for _, field := range []struct{ name, text string }{
		{"id", row.ID}, {"title", row.Title}, {"explanation", row.Explanation}, {"kernels", row.Kernels},
	} {
		if strings.TrimSpace(field.text) == "" {
			return fmt.Errorf("it has no %s", field.name)
		}
	}
	if len(row.Sources) == 0 {
		return errors.New("it has no sources")
	}
	if _, err := c.Row(row.ID); err == nil {
		return errors.New("there are two of that id")
	}
	return nil
}

// Rows returns all causes, in the order of the catalogue.
func (c *Catalogue) Rows() []Row { return slices.Clone(c.rows) }

// Row returns the cause of that id, or an error that matches [ErrUnknown].
func (c *Catalogue) Row(id string) (Row, error) {
	i := slices.IndexFunc(c.rows, func(r Row) bool { return r.ID == id })
	if i < 0 {
		return Row{}, fmt.Errorf("%q: %w", id, ErrUnknown)
	}
	return c.rows[i], nil
}

func set(words []string) map[string]bool {
	m := make(map[string]bool, len(words))
	for _, w := range words {
		m[w] = true
	}
	return m
}
