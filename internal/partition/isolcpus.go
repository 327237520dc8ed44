// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"strings"

	"github.com/taskiso/taskiso/cpulist"
)

// How kernels read isolcpus= and nohz_full= (kernel/sched/isolation.c; before 4.15
// kernel/sched/core.c and kernel/time/tick-sched.c) changed with these releases.
const (
	flagsSince   release = 4015 // isolcpus= has flags, and both parameters share one list: one that differs from the first is ignored
	managedSince release = 5006 // the flag managed_irq; a flag that is not known makes the kernel ignore the parameter
	skipsSince   release = 5008 // flags that are not known are skipped
	kindsSince   release = 5018 // a list for each kind of isolation: only where both name a kind must they be the same
	presentSince release = 6019 // both together must leave a CPU
	onceSince    release = 7000 // a kind named twice is ignored the second time: it is compared with a list that is not in use yet
)

// behaviours are those releases: each stands for itself and all up to the next.
var behaviours = []release{0, flagsSince, managedSince, skipsSince, kindsSince, presentSince, onceSince}

// kinds of isolation that the two parameters give.
type kinds uint8

const (
	domainKind  kinds = 1 << iota // no load is balanced there
	managedKind                   // managed interrupts go elsewhere
	tickKind                      // the tick stops
)

var allKinds = []kinds{domainKind, managedKind, tickKind}

// isolation is which CPUs a kernel isolates at boot, by kind.
type isolation map[kinds]cpulist.Set

// booting is a kernel that reads its command line.
type booting struct {
	release  release
	possible cpulist.Set
	hasTick  bool // built with CONFIG_NO_HZ_FULL
	given    kinds
	first    cpulist.Set // of the first parameter that was not ignored
	isolated isolation
}

// isolate returns what a release makes of a command line.
func (r release) isolate(line []argument, possible cpulist.Set, hasTick bool) isolation {
	b := booting{release: r, possible: possible, hasTick: hasTick, isolated: isolation{}}
	for _, a := range line {
		switch a.name {
		case "isolcpus":
			if given, list, ok := r.flags(a.value); ok {
				b.take(given, list)
			}
		case "nohz_full":
			b.take(tickKind, a.value)
		}
	}
	return b.isolated
}

// flags takes the flags off the value of isolcpus=. Every word that begins with a letter
// is a flag, also "all" and "N".
func (r release) flags(value string) (given kinds, list string, ok bool) {
	for r >= flagsSince && value != "" && isLetter(value[0]) {
		flag, rest, more := strings.Cut(value, ",")
		if !more {
			return 0, "", false
		}
		switch {
		case flag == "nohz":
			given |= tickKind
		case flag == "domain":
			given |= domainKind
		case flag == "managed_irq" && r >= managedSince:
			given |= managedKind
		case r < skipsSince || strings.ContainsFunc(flag, func(c rune) bool { return c != '_' && (c > 'z' || !isLetter(byte(c))) }):
			return 0, "", false
		}
		value = rest
	}
	if given == 0 {
		given = domainKind
	}
	return given, value, true
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// take is one of the parameters: it is taken as a whole, or ignored.
func (b *booting) take(given kinds, list string) {
	last, _ := b.possible.Last()
	cpus, err := cpulist.ParseMax(list, last)
	cpus = cpus.Intersect(b.possible)
	if given&tickKind != 0 && !b.hasTick {
		return
	}
	if b.release < flagsSince { // each parameter is a variable of its own
		b.isolated[given] = cpus
		return
	}
	if cpus == b.possible {
		cpus = cpus.Minus(bootCPU())
	}
	if err != nil || cpus.IsEmpty() || b.contradicts(given, cpus) {
		return
	}
	if b.given == 0 {
		b.first = cpus
	}
	for _, kind := range allKinds {
		if given&kind != 0 {
			b.isolated[kind] = cpus
		}
	}
	b.given |= given
}

// contradicts reports whether a parameter is ignored because of an earlier one.
func (b *booting) contradicts(given kinds, cpus cpulist.Set) bool {
	if b.given == 0 {
		return false
	}
	if b.release < kindsSince {
		return cpus != b.first
	}
	for _, kind := range allKinds {
		if given&b.given&kind != 0 && (b.release >= onceSince || cpus != b.isolated[kind]) {
			return true
		}
	}
	if b.release < presentSince || b.release >= onceSince || given&(domainKind|tickKind) == 0 {
		return false
	}
	return b.possible.Minus(cpus).Minus(b.isolated[domainKind]).IsEmpty() || b.possible.Minus(cpus).Minus(b.isolated[tickKind]).IsEmpty()
}

// bootCPU is the one that the kernel starts on.
func bootCPU() cpulist.Set { return single(0) }

// single is the set of one CPU that the kernel has named.
func single(cpu int) cpulist.Set {
	set, _ := cpulist.New(cpu) // which is in range
	return set
}

// askedFor returns the CPUs that words of the line name for a kind of isolation,
// whether or not the kernel has listened.
func askedFor(kind kinds, line []argument, possible cpulist.Set) cpulist.Set {
	last, _ := possible.Last()
	var all cpulist.Set
	add := func(list string) {
		if set, err := cpulist.ParseMax(list, last); err == nil {
			all = all.Union(set.Intersect(possible))
		}
	}
	for _, a := range line {
		switch a.name {
		case "isolcpus":
			if given, list, ok := newest.flags(a.value); ok && given&kind != 0 {
				add(list)
			} else if !ok && kind == domainKind {
				add(a.value) // "all" and "N", which were a list before there were flags
			}
		case "nohz_full":
			if kind == tickKind {
				add(a.value)
			}
		}
	}
	return all
}
