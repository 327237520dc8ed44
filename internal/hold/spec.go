// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"fmt"
	"os"
	"time"

	"github.com/taskiso/taskiso/internal/specfile"
)

// Spec is the content of a hold.toml; an empty field stands for its default. Options
// of the command line have the same names.
type Spec struct {
	CPUs          string
	MaxWait       string
	Policy        string
	Window        string // hours in which operations may go on
	During        string // hours in which they are held
	WhileIsolated bool
	Allow         []string // rules

	// Operations with a policy of their own, by name.
	Hold, Deny, Report, Ignore []string
}

func (s *Spec) keys() []specfile.Key {
	return []specfile.Key{
		{Name: "cpus", Field: &s.CPUs}, {Name: "max-wait", Field: &s.MaxWait}, {Name: "policy", Field: &s.Policy},
		{Name: "window", Field: &s.Window}, {Name: "during", Field: &s.During}, {Name: "while-isolated", Field: &s.WhileIsolated},
		{Name: "allow", Field: &s.Allow},
		{Name: "hold", Field: &s.Hold}, {Name: "deny", Field: &s.Deny}, {Name: "report", Field: &s.Report}, {Name: "ignore", Field: &s.Ignore},
	}
}

// ParseSpec reads the text of a hold.toml; file is its name in errors, which are of
// type [*specfile.Error].
func ParseSpec(file, text string) (Spec, error) {
	var s Spec
	if err := specfile.Read(file, text, s.keys()); err != nil {
		return Spec{}, err
	}
	if err := specfile.Check(file, text, s.keys(), func() error { return s.Apply(&Config{}) }); err != nil {
		return Spec{}, err
	}
	return s, nil
}

// ReadConfig returns what is held by default and by a hold.toml file, "" for none, and the CPUs that the file names. Its
// hours of the day may be left out. The error is about the file.
func ReadConfig(file string, hours bool) (c Config, cpus string, err error) {
	c = Config{MaxWait: DefaultMaxWait, Policy: Hold}
	if file == "" {
		return c, "", nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return c, "", fmt.Errorf("reading the options of hold: %w", err)
	}
	spec, err := ParseSpec(file, string(text))
	if err != nil {
		return c, "", err
	}
	if !hours {
		spec.Window, spec.During = "", ""
	}
	if err := spec.Apply(&c); err != nil {
		return c, "", fmt.Errorf("%s: %w", file, err)
	}
	return c, spec.CPUs, nil
}

// Apply copies the fields of the spec that are set, except for the CPUs, which depend on
// the machine, and leaves the others alone.
func (s Spec) Apply(c *Config) error {
	var err error
	if s.Policy != "" {
		if c.Policy, err = ParsePolicy(s.Policy); err != nil {
			return err
		}
	}
	if s.MaxWait != "" {
		if c.MaxWait, err = time.ParseDuration(s.MaxWait); err != nil || c.MaxWait <= 0 {
			return fmt.Errorf("max-wait %q: want a time above 0, as 5s or 500ms", s.MaxWait)
		}
	}
	if err := s.applyHours(&c.When); err != nil {
		return err
	}
	for _, text := range s.Allow {
		rule, err := ParseRule(text)
		if err != nil {
			return err
		}
		c.Allow = append(c.Allow, rule)
	}
	return s.applyOperations(c)
}

func (s Spec) applyHours(w *When) error {
	var err error
	if s.Window != "" && s.During != "" {
		return fmt.Errorf("window and during exclude each other: one is the rest of the day of the other")
	}
	if s.Window != "" {
		if w.Window, err = ParseHours(s.Window); err != nil {
			return err
		}
	}
	if s.During != "" {
		if w.During, err = ParseHours(s.During); err != nil {
			return err
		}
	}
	w.WhileBusy = w.WhileBusy || s.WhileIsolated
	return nil
}

func (s Spec) applyOperations(c *Config) error {
	if c.Operations == nil {
		c.Operations = make(map[string]Policy)
	}
	for _, list := range []struct {
		policy Policy
		names  []string
	}{{Hold, s.Hold}, {Deny, s.Deny}, {Report, s.Report}, {Ignore, s.Ignore}} {
		for _, name := range list.names {
			if _, err := operationNamed(name); err != nil {
				return err
			}
			if other, ok := c.Operations[name]; ok && other != list.policy {
				return fmt.Errorf("operation %q is in two lists: %s and %s", name, other, list.policy)
			}
			c.Operations[name] = list.policy
		}
	}
	return nil
}
