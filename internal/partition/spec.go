// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// Profiles.
const (
	// Latency makes every setting.
	Latency = "latency"
	// Throughput moves work to other CPUs, but switches nothing off for the
	// whole machine.
	Throughput = "throughput"
)

// Kinds of cpuset partitions.
const (
	Isolated = "isolated" // without load balancing
	Root     = "root"     // with load balancing among the isolated CPUs
	None     = "none"     // no cpuset partition
)

const (
	defaultName  = "default"
	cycleSetting = "cycle"
	smtSetting   = "smt"
)

// What becomes of the other hardware threads of isolated cores.
const (
	Keep    = "keep"
	Offline = "offline"
)

// Spec says what to set apart and how. It is what a spec.toml holds; an empty
// field stands for its default.
type Spec struct {
	Name         string   `toml:"name" json:"name"`
	CPUs         string   `toml:"cpus" json:"cpus"`
	Housekeeping string   `toml:"housekeeping" json:"housekeeping,omitempty"` // default: all others
	Profile      string   `toml:"profile" json:"profile"`                     // default: latency
	Partition    string   `toml:"partition" json:"partition"`                 // default: isolated
	Cycle        bool     `toml:"cycle" json:"cycle,omitempty"`               // take the CPUs offline and online first
	Siblings     string   `toml:"siblings" json:"siblings,omitempty"`         // default: keep
	Skip         []string `toml:"skip" json:"skip,omitempty"`                 // settings to leave alone
	Require      []string `toml:"require" json:"require,omitempty"`           // settings that must be possible
}

// nameForm keeps a name one component of a path, and not hidden.
var nameForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{0,63}$`)

// SpecError is a mistake in the text of a spec.
type SpecError struct {
	File         string
	Line, Column int // from 1
	Err          error
}

func (e *SpecError) Error() string {
	return fmt.Sprintf("%s:%d:%d: %v", e.File, e.Line, e.Column, e.Err)
}

// Unwrap returns the reason.
func (e *SpecError) Unwrap() error { return e.Err }

// ParseSpec reads the text of a spec.toml; file is its name in errors, which
// are of type [*SpecError]. Values are checked by [New], as it knows the machine.
func ParseSpec(file, text string) (Spec, error) {
	var keys map[string]any
	_, err := toml.Decode(text, &keys)
	var parse toml.ParseError
	if errors.As(err, &parse) {
		return Spec{}, &SpecError{file, parse.Position.Line, parse.Position.Col, errors.New(parse.Message)}
	}
	if err != nil {
		return Spec{}, fmt.Errorf("reading %s: %w", file, err)
	}
	var s Spec
	fields := s.fields()
	for _, key := range inOrder(text, keys) {
		field, known := fields[key]
		if !known {
			return Spec{}, specError(file, text, key, fmt.Errorf("unknown key %q: want one of %s", key, strings.Join(specKeys, ", ")))
		}
		if err := assign(field, keys[key]); err != nil {
			return Spec{}, specError(file, text, key, fmt.Errorf("%s: %w", key, err))
		}
	}
	return s, nil
}

var specKeys = []string{"name", "cpus", "housekeeping", "profile", "partition", "cycle", "siblings", "skip", "require"}

func (s *Spec) fields() map[string]any {
	return map[string]any{
		"name": &s.Name, "cpus": &s.CPUs, "housekeeping": &s.Housekeeping, "profile": &s.Profile,
		"partition": &s.Partition, "cycle": &s.Cycle, "siblings": &s.Siblings, "skip": &s.Skip, "require": &s.Require,
	}
}

func assign(field, value any) error {
	switch field := field.(type) {
	case *string:
		text, ok := value.(string)
		if !ok {
			return fmt.Errorf("is %v, want a string in quotes", value)
		}
		*field = text
	case *bool:
		set, ok := value.(bool)
		if !ok {
			return fmt.Errorf("is %v, want true or false", value)
		}
		*field = set
	case *[]string:
		list, ok := value.([]any)
		if !ok {
			return fmt.Errorf("is %v, want a list of strings", value)
		}
		for _, item := range list {
			text, ok := item.(string)
			if !ok {
				return fmt.Errorf("has %v, want strings only", item)
			}
			*field = append(*field, text)
		}
	}
	return nil
}

// inOrder sorts keys by their place in the text, so that the first mistake is
// the one that is told.
func inOrder(text string, keys map[string]any) []string {
	var list []string
	for key := range keys {
		list = append(list, key)
	}
	slices.SortFunc(list, func(a, b string) int {
		if d := keyOffset(text, a) - keyOffset(text, b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return list
}

// keyOffset finds where a key stands at the top level: the parser does not say.
func keyOffset(text, key string) int {
	name := `["']?` + regexp.QuoteMeta(key) + `["']?`
	place := regexp.MustCompile(`(?m)^[ \t]*(?:\[+[ \t]*)?(` + name + `)[ \t]*[=.\]]`).FindStringSubmatchIndex(text)
	if place == nil {
		return 0
	}
	return place[2]
}

func specError(file, text, key string, err error) error {
	before := text[:keyOffset(text, key)]
	return &SpecError{file, strings.Count(before, "\n") + 1, len(before) - strings.LastIndex(before, "\n"), err}
}

// complete fills in defaults and refuses what has no meaning on any machine.
func (s Spec) complete() (Spec, error) {
	if s.Profile == "" {
		s.Profile = Latency
	}
	if s.Partition == "" {
		s.Partition = Isolated
	}
	if s.Name == "" {
		s.Name = defaultName
	}
	if !nameForm.MatchString(s.Name) {
		return s, wrong("name %q: want letters, digits, - and _, at most 64", s.Name)
	}
	if !slices.Contains([]string{Latency, Throughput}, s.Profile) {
		return s, wrong("profile %q: want %s or %s", s.Profile, Latency, Throughput)
	}
	if !slices.Contains([]string{Isolated, Root, None}, s.Partition) {
		return s, wrong("partition %q: want %s, %s or %s", s.Partition, Isolated, Root, None)
	}
	if !slices.Contains([]string{"", Keep, Offline}, s.Siblings) {
		return s, wrong("siblings %q: want %s or %s", s.Siblings, Keep, Offline)
	}
	for _, name := range slices.Concat(s.Skip, s.Require) {
		if !slices.ContainsFunc(knobs(), func(k knob) bool { return k.name == name }) {
			return s, wrong("unknown setting %q: want one of %s", name, strings.Join(Settings(), ", "))
		}
	}
	for _, name := range s.Require {
		if slices.Contains(s.Skip, name) {
			return s, wrong("setting %q is both required and skipped", name)
		}
	}
	return s, nil
}

// ErrSpec matches errors of a spec that has no meaning on this machine, or on any.
var ErrSpec = errors.New("wrong spec")

// wrongSpec is an error that matches [ErrSpec] without saying so in words.
type wrongSpec struct{ error }

func (wrongSpec) Is(target error) bool { return target == ErrSpec }

func (w wrongSpec) Unwrap() error { return w.error }

func wrong(format string, args ...any) error { return wrongSpec{fmt.Errorf(format, args...)} }

// Settings returns the names of all settings, in the order they are made.
func Settings() []string {
	var names []string
	for _, k := range knobs() {
		names = append(names, k.name)
	}
	return names
}
