// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"io/fs"
	"path"
	"strings"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/partition/change"
	"github.com/taskiso/taskiso/internal/proc"
	"github.com/taskiso/taskiso/internal/systemd"
)

const (
	cgroupRoot    = "/sys/fs/cgroup"
	partitionFile = "cpuset.cpus.partition"
)

// Cgroup returns the directory of the cgroup of a partition where systemd does not
// run. Where it does, it is a slice of systemd's.
func Cgroup(name string) string { return path.Join(cgroupRoot, "taskiso-"+name) }

// sliceOf returns the directory of a partition's slice. Where systemd is the first
// process, it owns all cgroups, and takes controllers that none of its units uses
// from the root cgroup when it next starts one. So the cgroup of a partition is a
// slice: a unit that uses the controller. Properties of a slice that systemd does not
// know, such as the kind of its partition, are left alone.
func sliceOf(name string) string {
	return path.Join(cgroupRoot, systemd.SliceName("taskiso_"+name))
}

// cgroupOfChanges returns the cgroup that changes make, "" if they make none.
func cgroupOfChanges(changes []change.Change) string {
	for _, c := range changes {
		if dir := c.Directory(); path.Dir(dir) == cgroupRoot {
			return dir
		}
	}
	return ""
}

// cgroupOf returns the directory of the cgroup of a process or thread.
func cgroupOf(files fs.FS, dir string) (string, error) {
	cgroup, unified, err := proc.Cgroup(files, dir)
	if !unified {
		return cgroupRoot, err
	}
	return path.Join(cgroupRoot, path.Clean("/"+cgroup)), nil
}

// ownCgroup returns the directory of this process's cgroup.
func ownCgroup(files fs.FS) string {
	dir, _ := cgroupOf(files, "proc/self") // the root if that is not known
	return dir
}

// inFS is a path as an [fs.FS] has it.
func inFS(path string) string { return strings.TrimPrefix(path, "/") }

// RootCgroup is the directory of the cgroup that may hold processes whatever is below it.
const RootCgroup = cgroupRoot

// OwnCgroup returns the directory of this process's cgroup.
func OwnCgroup(files fs.FS) string { return ownCgroup(files) }

// Reachable returns the online CPUs on which the tasks of a cgroup may run. It is not
// known where cpuset is a controller of cgroup version 1.
func Reachable(files fs.FS, dir string) (cpus cpulist.Set, known bool) {
	for ; isBelow(dir, cgroupRoot); dir = path.Dir(dir) { // without the controller, those of the one above
		text, err := fs.ReadFile(files, inFS(dir)+"/cpuset.cpus.effective")
		if err == nil {
			cpus, err = cpulist.ParseSysfs(strings.TrimSpace(string(text)))
			return cpus, err == nil
		}
	}
	return cpulist.Set{}, false
}

func isBelow(dir, above string) bool { return dir == above || strings.HasPrefix(dir, above+"/") }

// IsOurs reports whether a cgroup has the name that those of taskiso's partitions have.
func IsOurs(dir string) bool {
	name := path.Base(dir)
	return path.Dir(dir) == cgroupRoot && (strings.HasPrefix(name, "taskiso-") || strings.HasPrefix(name, "taskiso_"))
}
