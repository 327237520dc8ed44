// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/specfile"
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
	Name         string   `json:"name"`
	CPUs         string   `json:"cpus"`
	Housekeeping string   `json:"housekeeping,omitempty"` // default: all others
	Profile      string   `json:"profile"`                // default: latency
	Partition    string   `json:"partition"`              // default: isolated
	Cycle        bool     `json:"cycle,omitempty"`        // take the CPUs offline and online first
	CacheWays    int      `json:"cache_ways,omitempty"`   // of the last cache, for these CPUs alone
	Siblings     string   `json:"siblings,omitempty"`     // default: keep
	Skip         []string `json:"skip,omitempty"`         // settings to leave alone
	Require      []string `json:"require,omitempty"`      // settings that must be possible
}

// nameForm keeps a name one component of a path, and not hidden.
var nameForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{0,63}$`)

// ParseSpec reads the text of a spec.toml; file is its name in errors, which
// are of type [*specfile.Error]. Whether the machine has the CPUs is checked by [New].
func ParseSpec(file, text string) (Spec, error) {
	var s Spec
	if err := specfile.Read(file, text, s.keys()); err != nil {
		return Spec{}, err
	}
	err := specfile.Check(file, text, s.keys(), func() error {
		_, err := s.complete()
		return err
	})
	if err != nil {
		return Spec{}, err
	}
	return s, nil
}

func (s *Spec) keys() []specfile.Key {
	return []specfile.Key{
		{Name: "name", Field: &s.Name}, {Name: "cpus", Field: &s.CPUs}, {Name: "housekeeping", Field: &s.Housekeeping},
		{Name: "profile", Field: &s.Profile}, {Name: "partition", Field: &s.Partition}, {Name: "cycle", Field: &s.Cycle},
		{Name: "cache_ways", Field: &s.CacheWays}, {Name: "siblings", Field: &s.Siblings}, {Name: "skip", Field: &s.Skip}, {Name: "require", Field: &s.Require},
	}
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
	if s.CacheWays < 0 {
		return s, wrong("cache ways %d: want 1 or more", s.CacheWays)
	}
	if s.CacheWays == 0 && slices.Contains(s.Require, cacheSetting) {
		return s, wrong("setting %q is required: give the number of ways with --cache-ways or cache_ways", cacheSetting)
	}
	if err := errors.Join(checkList("cpus", s.CPUs), checkList("housekeeping", s.Housekeeping)); err != nil {
		return s, err
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

// checkList refuses what is a CPU list on no machine.
func checkList(what, text string) error {
	if text == "" {
		return nil
	}
	if _, err := cpulist.ParseMax(text, cpulist.MaxCPU); err != nil && !errors.Is(err, cpulist.ErrRange) { // what there is, the machine says
		return wrong("%s: %w", what, err)
	}
	return nil
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
