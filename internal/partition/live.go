// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/partition/change"
	"github.com/taskiso/taskiso/internal/partition/thread"
	"github.com/taskiso/taskiso/internal/proc"
)

// live is a machine that runs: its files, and what a plan reads of it.
type live struct {
	files change.Files
	view  fs.FS // of the same machine
}

// affinityOf returns the CPUs of the thread of a change, none if it has ended.
func (l live) affinityOf(c change.Change) cpulist.Set {
	text, err := c.Read(l.files)
	if err != nil {
		return cpulist.Set{}
	}
	set, _ := cpulist.ParseSysfs(text) // which comes of a set
	return set
}

// cpusetOf returns the CPUs that the cpuset of a thread allows: what a thread has
// that nobody has given an affinity.
func (l live) cpusetOf(t thread.Thread) cpulist.Set {
	dir, err := cgroupOf(l.view, inFS(t.Dir))
	if err != nil {
		return cpulist.Set{}
	}
	for {
		effective := l.masked(dir+"/cpuset.cpus.effective", cpulist.ParseSysfs)
		if !effective.IsEmpty() || dir == cgroupRoot {
			return effective
		}
		dir = path.Dir(dir) // a cgroup without the controller has its parent's
	}
}

// masked returns the set in a file, the empty one if it has none.
func (l live) masked(file string, parse func(string) (cpulist.Set, error)) cpulist.Set {
	text, err := l.files.Read(file)
	if err != nil {
		return cpulist.Set{}
	}
	set, err := parse(text)
	if err != nil {
		return cpulist.Set{}
	}
	return set
}

// isInside reports whether a thread is in a cgroup or below it.
func (l live) isInside(t thread.Thread, cgroup string) bool {
	dir, err := cgroupOf(l.view, inFS(t.Dir))
	if err != nil || cgroup == "" {
		return false
	}
	return dir == cgroup || strings.HasPrefix(dir, cgroup+"/")
}

type strayInterrupt struct {
	number string
	on     cpulist.Set
}

// interruptsOn returns the interrupts that have a handler and go to cpus.
func (l live) interruptsOn(cpus cpulist.Set) []strayInterrupt {
	numbers, err := proc.Numbered(l.view, "proc/irq")
	if err != nil {
		return nil
	}
	var stray []strayInterrupt
	for _, number := range numbers {
		n := strconv.Itoa(number)
		on := l.masked("/proc/irq/"+n+"/effective_affinity_list", cpulist.ParseSysfs).Intersect(cpus)
		if on.IsEmpty() {
			continue
		}
		if actions, err := l.files.Read("/sys/kernel/irq/" + n + "/actions"); err == nil && actions == "" {
			continue // nobody has asked for it: it cannot occur
		}
		stray = append(stray, strayInterrupt{n, on})
	}
	return stray
}

// keepsOff reports whether the affinity of an interrupt has none of the CPUs.
func (l live) keepsOff(irq string, cpus cpulist.Set) bool {
	asked := l.masked("/proc/irq/"+irq+"/smp_affinity_list", cpulist.ParseSysfs)
	return !asked.IsEmpty() && asked.Intersect(cpus).IsEmpty()
}

func (l live) bootID() (string, error) {
	text, err := fs.ReadFile(l.view, "proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("finding out which boot this is: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}
