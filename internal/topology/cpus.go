// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/taskiso/taskiso/cpulist"
)

// The meaning of the files below is in the kernel's
// Documentation/admin-guide/cputopology.rst and
// Documentation/ABI/testing/sysfs-devices-system-cpu.
const (
	cpuDir  = "sys/devices/system/cpu"
	nodeDir = "sys/devices/system/node"
)

// Online returns the CPUs that run now.
func Online(fsys fs.FS) (cpulist.Set, error) { return readList(fsys, cpuDir+"/online") }

// Possible returns the CPUs that can ever run until the next boot. The highest
// of them is what "N" stands for in CPU lists on the kernel's command line.
func Possible(fsys fs.FS) (cpulist.Set, error) { return readList(fsys, cpuDir+"/possible") }

// Isolated returns the CPUs outside of the scheduler's load balancing: those
// of isolcpus=, and on kernels that count them, of isolated cpuset partitions.
func Isolated(fsys fs.FS) (cpulist.Set, error) { return readList(fsys, cpuDir+"/isolated") }

// NohzFull returns the CPUs whose tick stops while they run a single task
// (nohz_full=). On a kernel without CONFIG_NO_HZ_FULL the file does not exist
// and the error matches [fs.ErrNotExist].
func NohzFull(fsys fs.FS) (cpulist.Set, error) { return readList(fsys, cpuDir+"/nohz_full") }

// Siblings returns the hardware threads of the core that cpu belongs to,
// including cpu. Kernels before 5.3 have another name for the file. For an offline
// CPU the error matches [fs.ErrNotExist].
func Siblings(fsys fs.FS, cpu int) (cpulist.Set, error) {
	set, err := readList(fsys, path.Join(cpuPath(cpu), "topology/core_cpus_list"))
	if !errors.Is(err, fs.ErrNotExist) {
		return set, err
	}
	return readList(fsys, path.Join(cpuPath(cpu), "topology/thread_siblings_list"))
}

// Cluster returns the CPUs that share a cache below the last one with cpu, which is
// L2 on most machines, including cpu. Kernels before 5.16 do not show it; there it is the
// CPUs with the same L2 cache.
func Cluster(fsys fs.FS, cpu int) (cpulist.Set, error) {
	set, err := readList(fsys, path.Join(cpuPath(cpu), "topology/cluster_cpus_list"))
	if !errors.Is(err, fs.ErrNotExist) {
		return set, err
	}
	dirs, err := fs.Glob(fsys, path.Join(cpuPath(cpu), "cache/index[0-9]*"))
	if err != nil {
		return cpulist.Set{}, fmt.Errorf("looking for the caches of CPU %d: %w", cpu, err)
	}
	for _, dir := range dirs {
		level, err := fs.ReadFile(fsys, path.Join(dir, "level"))
		if err == nil && strings.TrimSpace(string(level)) == "2" {
			return readList(fsys, path.Join(dir, "shared_cpu_list"))
		}
	}
	return cpulist.Set{}, fmt.Errorf("reading which CPUs share a cache with CPU %d: %w", cpu, fs.ErrNotExist)
}

// Node returns the NUMA node of cpu: 0 on kernels without NUMA support. For an
// offline CPU the error matches [fs.ErrNotExist].
func Node(fsys fs.FS, cpu int) (int, error) {
	entries, err := fs.ReadDir(fsys, cpuPath(cpu))
	if err != nil {
		return 0, fmt.Errorf("reading the NUMA node of CPU %d: %w", cpu, err)
	}
	for _, entry := range entries {
		if node, ok := numberAfter(entry.Name(), "node"); ok {
			return node, nil
		}
	}
	if _, err := fs.Stat(fsys, nodeDir); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	return 0, fmt.Errorf("reading the NUMA node of CPU %d: no node in %s: %w", cpu, cpuPath(cpu), fs.ErrNotExist)
}

func cpuPath(cpu int) string { return cpuDir + "/cpu" + strconv.Itoa(cpu) }

func readList(fsys fs.FS, name string) (cpulist.Set, error) {
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		return cpulist.Set{}, fmt.Errorf("reading CPUs: %w", err)
	}
	set, err := cpulist.ParseSysfs(string(text))
	if err != nil {
		return cpulist.Set{}, fmt.Errorf("reading CPUs from /%s: %w", name, err)
	}
	return set, nil
}

// numberAfter reads names such as "node1" and "CPU12".
func numberAfter(name, prefix string) (int, bool) {
	digits, found := strings.CutPrefix(name, prefix)
	if !found {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	return int(n), err == nil
}
