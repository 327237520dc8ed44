// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/partition/change"
)

// knob is one setting: what to change for it, why, and where that is written.
// How its values are read, applied, verified and restored is in their [change.Change].
// A new one is a function that returns it, in a file, and its line in [knobs].
type knob struct {
	name string
	why  string // what interrupts isolated CPUs without it
	// source is the proof in the kernel's documentation or code, as a path in
	// the kernel's source tree.
	source string
	// global settings switch something off for the whole machine: the profile
	// throughput leaves them alone.
	global bool
	plan   func(*host) (found, error)
	// finish adds what only a machine that runs shows, when a partition is made.
	finish func(*Setting, running) error
	// reads are the files that plan reads, as patterns of [fs.Glob] below the root; a directory is enough where only
	// its presence counts.
	reads []string
	rate  rate // of the interruptions of isolated CPUs without it
	// targets are the interrupts, queues or devices that changes are about, where there are any.
	targets func([]change.Change) []string
}

// running is a machine on which a plan is carried out.
type running struct {
	files change.Files
	view  fs.FS
	spec  Spec
	cpus  cpulist.Set
	kind  string // of the cpuset partition that is made
}

// found is what a knob finds on a machine.
type found struct {
	changes []change.Change
	notes   []string // limits that a user has to know
	short   string   // what the machine has too little of for all changes to take effect
	later   bool     // what to change is found out when the partition is made
	fixed   []int    // interrupts that the kernel lets nobody move
}

func (f *found) note(format string, args ...any) {
	f.notes = append(f.notes, fmt.Sprintf(format, args...))
}

// masked keeps isolated CPUs out of a mask that must not become empty.
func masked(path string) func(*host) (found, error) {
	return func(h *host) (found, error) {
		changes, err := h.keepOff(path, change.Mask{}, h.housekeeping)
		return found{changes: changes}, err
	}
}

func value(path, to string) func(*host) (found, error) {
	return func(h *host) (found, error) {
		changes, err := h.set(path, change.Text{}, to)
		return found{changes: changes}, err
	}
}

func choice(path, to string) func(*host) (found, error) {
	return func(h *host) (found, error) {
		changes, err := h.set(path, change.Choice{}, to)
		return found{changes: changes}, err
	}
}

// perCPU sets a value for each isolated CPU.
func perCPU(pattern, to string) func(*host) (found, error) {
	return func(h *host) (found, error) {
		var f found
		for cpu := range h.cpus.All() {
			changes, err := h.set(fmt.Sprintf(pattern, cpu), change.Text{}, to)
			if err != nil {
				return f, err
			}
			f.changes = append(f.changes, changes...)
		}
		return f, nil
	}
}

// partsOf returns one part of the path of each change.
func partsOf(n int) func([]change.Change) []string {
	return func(changes []change.Change) []string {
		var parts []string
		for _, c := range changes {
			parts = append(parts, strings.Split(c.Path, "/")[n])
		}
		return slices.Compact(parts)
	}
}
