// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"fmt"
	"path"

	"github.com/taskiso/taskiso/cpulist"
)

// warnOfOwners names those whose CPUs these are already. A plan that is refused names
// the partitions as the reason.
func warnOfOwners(h *host, refused bool, warn func(format string, args ...any)) {
	unnamed := h.cpus.Intersect(h.partitioned)
	owners, err := Owners(h.files, h.cpus)
	for _, o := range owners {
		both := o.CPUs.Intersect(h.cpus)
		in := partitionOf(h.files, o)
		switch {
		case in.Partition != "":
			unnamed = unnamed.Minus(both)
			if !refused {
				warn("isolated already, or set apart, by %s, which keeps them: CPU %v", ownerIn(o, in), both)
			}
		case o.inV1:
			warn("given to %v, whose tasks run there: CPU %v", o, both)
		}
	}
	if !unnamed.IsEmpty() {
		warn("isolated already, by a cpuset partition that cannot be seen here: CPU %v", unnamed)
	}
	if err != nil {
		warn("%v: not all owners are known", err)
	}
}

// tickWarning is a warning of a plan that a grade has as a hazard.
func tickWarning(h *host) string {
	if text, err := h.read("/proc/cmdline"); err == nil && ticksForever(arguments(text)) {
		return fmt.Sprintf("CPU %v: the tick continues there: nohz=off is on the command line; see \"taskiso partition boot\"", h.cpus)
	}
	rest := h.cpus.Minus(h.NohzFull)
	if rest.IsEmpty() {
		return ""
	}
	return fmt.Sprintf("CPU %v: the tick continues there: only booting with nohz_full= stops it; see \"taskiso partition boot\"", rest)
}

// warningsOf returns the problems of the choice of CPUs that no setting can solve.
func warningsOf(h *host, refused bool) []string {
	var list []string
	warn := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if h.cpus.Contains(0) {
		warn("CPU 0 does work that the kernel gives to no other CPU (timekeeping unless nohz_full= moves it, early interrupts, suspend): isolate another one if you can")
	}
	if shared := h.siblings.Minus(h.cpus).Intersect(h.Online); !shared.IsEmpty() && h.spec.Siblings != Offline {
		warn("CPU %v %s with isolated CPUs and %s them down: isolate them too, or take them offline (--siblings offline)", shared, either(shared, "shares a core", "share cores"), either(shared, "slows", "slow"))
	}
	if h.siblingsError != nil {
		warn("%v", h.siblingsError)
	}
	if warning := bannedWarning(h); warning != "" {
		warn("%s", warning)
	}
	if near := h.clusterMates(); !near.IsEmpty() {
		warn("CPU %v %s a cluster, and so a cache (mostly L2), with isolated CPUs and %s them down: isolate them too", near, either(near, "shares", "share"), either(near, "slows", "slow"))
	}
	if warning := tickWarning(h); warning != "" {
		warn("%s", warning)
	}
	warnOfIsolated(h, refused, warn)
	for _, node := range nodesWithoutHousekeeping(h) {
		warn("%s has no CPU for housekeeping: interrupts of its devices and kernel threads for its memory run on another node", node)
	}
	for _, dir := range readOnlyDirs(h) {
		warn("%s is mounted read-only here (usual in a container): nothing below it can be changed from here", dir)
	}
	return list
}

// nodesWithoutHousekeeping returns the NUMA nodes all of whose CPUs are isolated, if
// there are others.
func nodesWithoutHousekeeping(h *host) []string {
	files, err := h.glob("/sys/devices/system/node/node[0-9]*/cpulist")
	if err != nil || len(files) < 2 {
		return nil
	}
	var nodes []string
	for _, file := range files {
		text, err := h.read(file)
		if err != nil {
			continue
		}
		cpus, err := cpulist.ParseSysfs(text) // a node may have memory only
		if err == nil && !cpus.Intersect(h.cpus).IsEmpty() && cpus.Intersect(h.housekeeping).IsEmpty() {
			nodes = append(nodes, path.Base(path.Dir(file)))
		}
	}
	return nodes
}

// readOnlyDirs returns where settings are that cannot be written. A tmpfs on the
// root of cgroups holds the hierarchies of cgroup v1, which are mounts of their own.
func readOnlyDirs(h *host) []string {
	var list []string
	for _, dir := range []string{"/sys", "/sys/devices", cgroupRoot, "/proc/irq", "/proc/sys"} {
		m := h.mounts.on(dir)
		if m.readOnly && m.kind != "tmpfs" && m.dir == dir {
			list = append(list, dir)
		}
	}
	return list
}

// warnOfIsolated names the CPUs that are isolated already, and what isolated them; and others that are isolated.
func warnOfIsolated(h *host, refused bool, warn func(format string, args ...any)) {
	if atBoot := h.cpus.Intersect(h.bootIsolated); !atBoot.IsEmpty() {
		by := "isolcpus="
		if h.unseen {
			by = "isolcpus= as the command line has it (no " + isolatedFile + " shows what the kernel did)"
		}
		warn("isolated at boot already, by %s: CPU %v", by, atBoot)
	}
	warnOfOwners(h, refused, warn)
	if others := h.bootIsolated.Minus(h.cpus); !others.IsEmpty() {
		warn("isolated at boot by isolcpus=, and not asked for: CPU %v; nothing here changes that", others)
	}
	if dropped := droppedIsolated(h); !dropped.IsEmpty() {
		warn("isolcpus= names CPU %v, and the kernel does not isolate %s (%s): see \"taskiso partition boot\"", dropped, either(dropped, "it", "them"), isolatedFile)
	}
}

// droppedIsolated returns the CPUs that isolcpus= names for nothing.
func droppedIsolated(h *host) cpulist.Set {
	text, err := h.read("/proc/cmdline")
	if err != nil {
		return cpulist.Set{}
	}
	return h.cpus.Intersect(askedFor(domainKind, arguments(text), h.Possible)).Minus(h.Isolated)
}
