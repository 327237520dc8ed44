// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/taskiso/taskiso/cpulist"
)

// kernelLine is a command line and what the kernel made of it.
type kernelLine struct {
	*host
	line    []argument
	hasTick bool
	// like are the behaviours that this kernel may have, oldest first.
	like []release
	// explained is true if one of them makes of the line what the kernel shows.
	explained bool
	// taken are the CPUs that are isolated at boot by kind, under each behaviour.
	taken isolation
	// stay are CPUs that the words judged so far isolate.
	stay cpulist.Set
}

func newKernelLine(h *host, text string) *kernelLine {
	k := &kernelLine{host: h, line: arguments(text), hasTick: h.exists(nohzFullFile)}
	k.like, k.explained = k.readings()
	k.taken = isolation{domainKind: h.bootIsolated, tickKind: h.NohzFull, managedKind: h.Possible}
	for _, r := range k.like {
		k.taken[managedKind] = k.taken[managedKind].Intersect(r.isolate(k.line, h.Possible, k.hasTick)[managedKind])
	}
	if !k.explained {
		k.taken[managedKind] = cpulist.Set{}
	}
	return k
}

// readings returns the behaviours under which the command line gives what sysfs
// shows: first among those of the kernel's release, then among all.
func (k *kernelLine) readings() (like []release, explained bool) {
	oldest, latest := k.releases()
	for i, r := range behaviours {
		if r <= latest && (i+1 == len(behaviours) || behaviours[i+1] > oldest) {
			like = append(like, r)
		}
	}
	// What broke with one release may be mended in another that nobody knows yet.
	if slices.Equal(like, []release{onceSince}) {
		like = []release{presentSince, onceSince}
	}
	for _, some := range [][]release{like, behaviours} {
		fits := slices.DeleteFunc(slices.Clone(some), func(r release) bool { return !k.shows(r.isolate(k.line, k.Possible, k.hasTick)) })
		if len(fits) > 0 {
			return fits, true
		}
	}
	return like, false
}

// shows reports whether sysfs agrees. A kernel that needs the boot CPU for timekeeping
// takes it out of nohz_full= (tick_nohz_init), and cpuset partitions are isolated too.
func (k *kernelLine) shows(is isolation) bool {
	tick := is[tickKind]
	return is[domainKind].IsSubsetOf(k.Isolated) && k.Isolated.Minus(is[domainKind]).IsSubsetOf(k.partitioned) &&
		(tick == k.NohzFull || tick.Minus(bootCPU()) == k.NohzFull)
}

// all reports whether something holds for each behaviour that the kernel may have.
func (k *kernelLine) all(holds func(release) bool) bool {
	return !slices.ContainsFunc(k.like, func(r release) bool { return !holds(r) })
}

// present returns the words of a parameter as they stand on the command line.
func (k *kernelLine) present(name string) string {
	var words []string
	for _, a := range named(k.line, strings.ReplaceAll(name, "-", "_")) {
		words = append(words, a.text)
	}
	return strings.Join(words, " ")
}

// asItIs returns the word of a parameter without quotes, or all of several.
func (k *kernelLine) asItIs(name string) string {
	var words []string
	for _, a := range named(k.line, name) {
		words = append(words, name+"="+a.value)
	}
	return strings.Join(words, " ")
}

// wantsDomain reports whether isolcpus= was to keep the load balancer off, with a list
// or without: what somebody chose is kept.
func (k *kernelLine) wantsDomain() bool {
	return slices.ContainsFunc(named(k.line, "isolcpus"), func(a argument) bool {
		given, _, _ := newest.flags(a.value)
		return given&domainKind != 0 || given == 0
	})
}

// lists returns what nohz_full= and isolcpus= should name: the CPUs that were asked
// for, or what is in effect already and has them all. Kernels before 5.18 want the
// same list in both.
func (k *kernelLine) lists() (tick, isolated cpulist.Set) {
	tick, isolated = k.cpus, k.cpus
	if k.cpus.IsSubsetOf(k.taken[tickKind]) {
		tick = k.taken[tickKind]
	}
	for _, kind := range []kinds{managedKind, domainKind} {
		if !k.taken[kind].IsEmpty() && k.cpus.IsSubsetOf(k.taken[kind]) {
			isolated = k.taken[kind]
		}
	}
	separate := k.all(func(r release) bool { return r >= kindsSince || r < flagsSince })
	if tick == isolated || !k.hasTick || separate {
		return tick, isolated
	}
	if tick == k.cpus {
		return isolated, isolated
	}
	return tick, tick
}

// repeatsTick reports whether isolcpus= has the flag nohz although nohz_full= will be
// there, which some kernels do not take.
func (k *kernelLine) repeatsTick() bool {
	tick, _ := k.lists()
	return tick != k.taken[tickKind] && slices.ContainsFunc(named(k.line, "isolcpus"), func(a argument) bool {
		given, _, _ := newest.flags(a.value)
		return given&tickKind != 0
	})
}

// managedIfKnown reports whether the line gives what is wanted if the kernel knows the flag.
func (k *kernelLine) managedIfKnown() bool {
	return k.all(func(r release) bool {
		return r < managedSince || k.cpus.IsSubsetOf(r.isolate(k.line, k.Possible, k.hasTick)[managedKind])
	})
}

const (
	patienceParameter = "rcutree.nohz_full_patience_delay"
	patienceFile      = "/sys/module/rcutree/parameters/nohz_full_patience_delay"
)

// releases returns between which releases the kernel is, by its number, or else by
// what it has. Neither is the last word: distributions take features back to older
// kernels; see [kernelLine.readings].
func (k *kernelLine) releases() (oldest, latest release) {
	if r, ok := k.releaseNumber(); ok {
		return r, r
	}
	latest = newest
	for cpu := range k.Online.All() {
		if _, err := k.read(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/topology/core_cpus_list", cpu)); err == nil {
			oldest = 5003
			break
		}
		if _, err := k.read(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu)); err == nil {
			latest = 5002
			break
		}
	}
	for _, sign := range []struct {
		file  string
		since release
	}{
		{"/proc/sys/net/core/skb_defer_max", 5019},
		{"/proc/sys/net/core/rps_default_mask", 6003},
		{patienceFile, 6011},
		{"/sys/kernel/debug/sched/fair_server", 6012},
	} {
		if sign.since > oldest && k.exists(sign.file) {
			oldest = sign.since
		}
	}
	return oldest, max(oldest, latest)
}

func (k *kernelLine) releaseNumber() (release, bool) {
	text, err := k.read("/proc/sys/kernel/osrelease")
	if err != nil {
		image, _ := last(k.line, "BOOT_IMAGE")
		if found := imageForm.FindStringSubmatch(image); found != nil {
			text = found[1]
		}
	}
	found := releaseForm.FindStringSubmatch(text + "\n")
	if found == nil {
		return 0, false
	}
	major, _ := strconv.Atoi(found[1]) // digits, and few
	minor, _ := strconv.Atoi(found[2])
	return release(major*1000 + minor), true
}
