// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/taskiso/taskiso/cpulist"
)

// Machine is what is to be known of CPUs to choose some.
type Machine struct {
	Possible, Online   cpulist.Set
	Isolated, NohzFull cpulist.Set // as the kernel shows them; empty if it cannot isolate
}

// ReadMachine reads all of them.
func ReadMachine(fsys fs.FS) (Machine, error) {
	var m Machine
	var err error
	if m.Possible, err = Possible(fsys); err != nil {
		return m, err
	}
	if m.Online, err = Online(fsys); err != nil {
		return m, err
	}
	// Kernels without these features have no such file and no such CPUs.
	if m.Isolated, err = Isolated(fsys); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	if m.NohzFull, err = NohzFull(fsys); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	return m, nil
}

// Parse reads a list of CPUs that somebody chose: this machine has them, and they run.
func (m Machine) Parse(text string) (cpulist.Set, error) {
	last, _ := m.Possible.Last()
	cpus, err := cpulist.ParseMax(text, last)
	if errors.Is(err, cpulist.ErrRange) {
		return cpulist.Set{}, fmt.Errorf("CPU %s: this machine has only CPU %v", text, m.Possible)
	}
	if err != nil {
		return cpulist.Set{}, err
	}
	if unknown := cpus.Minus(m.Possible); !unknown.IsEmpty() {
		return cpulist.Set{}, fmt.Errorf("CPU %v: this machine has only CPU %v", unknown, m.Possible)
	}
	if offline := cpus.Minus(m.Online); !offline.IsEmpty() {
		return cpulist.Set{}, fmt.Errorf("CPU %v %s offline", offline, isOrAre(offline))
	}
	return cpus, nil
}

func isOrAre(cpus cpulist.Set) string {
	if cpus.Len() == 1 {
		return "is"
	}
	return "are"
}

// SetApart returns the CPUs that run and are isolated or nohz_full.
func (m Machine) SetApart() cpulist.Set { return m.Online.Intersect(m.Isolated.Union(m.NohzFull)) }

// SetApartOrAll returns those, or all that run where there are none.
func (m Machine) SetApartOrAll() cpulist.Set {
	if apart := m.SetApart(); !apart.IsEmpty() {
		return apart
	}
	return m.Online
}

// Beside returns the CPUs that run beside cpus. One has to be left.
func (m Machine) Beside(cpus cpulist.Set) (cpulist.Set, error) {
	rest := m.Online.Minus(cpus)
	if rest.IsEmpty() {
		return rest, fmt.Errorf("CPU %v %s all this machine has: one must be left for the rest of the system", cpus, isOrAre(cpus))
	}
	return rest, nil
}

// Housekeeping returns those of cpus that are fit for the work of the system: all
// but those set apart, or all if there are no others.
func (m Machine) Housekeeping(cpus cpulist.Set) cpulist.Set {
	if others := cpus.Minus(m.Isolated).Minus(m.NohzFull); !others.IsEmpty() {
		return others
	}
	return cpus
}
