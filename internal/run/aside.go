// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/proc"
	"github.com/taskiso/taskiso/internal/topology"
)

// aside moves taskiso away from the CPUs on which the watched threads run, which
// may run anywhere and so leave it no CPU for good.
type aside struct {
	cpus   cpulist.Set          // on which it may be
	on     cpulist.Set          // on which it is
	events func(cpu int) uint64 // how much was seen of the watched threads on a CPU
	move   func(cpulist.Set) error

	next   time.Time
	seen   map[int]uint64
	active map[int]time.Time // when something was last seen on a CPU
}

// Times of aside: between two looks, and for how long a CPU counts as one where they run if there are others. To move
// interrupts the CPU that is left, so it is not done at each poll.
const (
	asideInterval = 50 * time.Millisecond
	asideMemory   = time.Second
)

func (a *aside) poll(now time.Time) error {
	if now.Before(a.next) {
		return nil
	}
	a.next = now.Add(asideInterval)
	for cpu := range a.cpus.All() {
		if n := a.events(cpu); n != a.seen[cpu] {
			a.seen[cpu], a.active[cpu] = n, now
		}
	}
	here := a.theirs(now, asideInterval)
	if a.on.Intersect(here).IsEmpty() {
		return nil
	}
	for _, left := range []cpulist.Set{a.theirs(now, asideMemory), here} {
		if free := a.cpus.Minus(left); !free.IsEmpty() {
			return a.to(free)
		}
	}
	return nil
}

// theirs are the CPUs where the watched threads were seen to run within a time.
func (a *aside) theirs(now time.Time, within time.Duration) cpulist.Set {
	var cpus []int
	for cpu, at := range a.active {
		if now.Sub(at) < within {
			cpus = append(cpus, cpu)
		}
	}
	set, err := cpulist.New(cpus...)
	if err != nil { // cannot be: they are of a set
		return cpulist.Set{}
	}
	return set
}

func (a *aside) to(cpus cpulist.Set) error {
	if err := a.move(cpus); err != nil {
		return fmt.Errorf("moving taskiso itself to CPU %v: %w", cpus, err)
	}
	a.on = cpus
	return nil
}

// stepAside keeps taskiso away from the CPUs where the subject runs, from now on.
func stepAside(s *Subject, m topology.Machine, events func(cpu int) uint64) (*aside, error) {
	allowed, err := affinity.Of(0)
	if err != nil {
		return nil, err
	}
	allowed = m.Housekeeping(allowed.Intersect(m.Online))
	a := &aside{
		cpus: allowed, on: allowed, seen: make(map[int]uint64), active: make(map[int]time.Time),
		events: events,
		move:   func(cpus cpulist.Set) error { return moveThreads(s.files, cpus) },
	}
	there, err := s.runsOn()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	for cpu := range there.All() {
		a.active[cpu] = now
	}
	if free := allowed.Minus(there); !free.IsEmpty() {
		return a, a.to(free)
	}
	return a, nil
}

// moveThreads lets every thread of this process run on cpus only. Those that begin later inherit it.
func moveThreads(files fs.FS, cpus cpulist.Set) error {
	moved := make(map[int]bool)
	for fresh := true; fresh; {
		threads, err := proc.Numbered(files, "proc/self/task")
		if err != nil {
			return fmt.Errorf("listing the threads of taskiso: %w", err)
		}
		fresh = false
		for _, tid := range threads {
			if moved[tid] {
				continue
			}
			if err := affinity.Set(tid, cpus); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
			moved[tid], fresh = true, true
		}
	}
	return nil
}

// runsOn returns the CPUs on which the subject's threads ran last.
func (s *Subject) runsOn() (cpulist.Set, error) {
	tids, err := s.threads()
	if err != nil {
		return cpulist.Set{}, err
	}
	var cpus []int
	for _, tid := range tids {
		stat, err := proc.ReadStat(s.files, path.Join(s.dir(), "task", strconv.Itoa(tid)))
		if err == nil && stat.CPU >= 0 { // else it has ended meanwhile
			cpus = append(cpus, stat.CPU)
		}
	}
	return cpulist.New(cpus...)
}
