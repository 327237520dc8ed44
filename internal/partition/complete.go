// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/taskiso/taskiso/internal/specfile"
)

// ReadSpec reads a spec.toml; without a file everything is by default.
func ReadSpec(file string) (Spec, error) {
	if file == "" {
		return Spec{}, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return Spec{}, fmt.Errorf("reading the spec: %w", err)
	}
	return ParseSpec(file, string(text))
}

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
