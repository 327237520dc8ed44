// SPDX-License-Identifier: Apache-2.0

package place

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/launch"
	"github.com/taskiso/taskiso/internal/partition"
	"github.com/taskiso/taskiso/internal/printable"
)

// homeVariable carries the cgroup in which taskiso was started over its own execution
// in another one.
const homeVariable = "TASKISO_STARTED_IN"

// takeHome returns that cgroup, "" if taskiso is where it was started. No command sees
// the variable.
func takeHome() string {
	home := os.Getenv(homeVariable)
	_ = os.Unsetenv(homeVariable) // its name is valid
	return home
}

// leavePartition moves this process to the root cgroup, from a partition that has none
// of its housekeeping CPUs, and returns the cgroup it was in. A cgroup that confines
// its tasks without being a partition is not left: it was made for that.
func leavePartition(cpus, housekeeping cpulist.Set) (home string, err error) {
	files := os.DirFS("/")
	home = partition.OwnCgroup(files)
	if _, found := partition.Around(files, home); found {
		if err = launch.EnterCgroup(partition.RootCgroup); err == nil {
			return home, nil
		}
	}
	have, _ := partition.Reachable(files, home)
	next := "start taskiso in another one"
	if rest := have.Minus(cpus); !rest.IsEmpty() {
		next = fmt.Sprintf("give it some of CPU %v with -H, or %s", rest, next)
	}
	return "", fmt.Errorf("the cgroup %s has only CPU %v, none of %v: %s", printable.Text(home), have, housekeeping, next)
}

// room is where tasks can run on their CPUs.
type room struct {
	cgroup string      // "" where taskiso is
	cpus   cpulist.Set // that it has
}

// roomFor finds a cgroup whose tasks can run on the CPUs: the one in which taskiso was
// started, or the partition of taskiso's that has them. Another's is not entered.
func roomFor(files fs.FS, cpus cpulist.Set, home string) (room, error) {
	own := cmp.Or(home, partition.OwnCgroup(files))
	have, known := partition.Reachable(files, own)
	if !known || cpus.IsSubsetOf(have) {
		return room{home, have}, nil
	}
	in, found := partition.PartitionWith(files, cpus)
	if !found {
		return room{}, fmt.Errorf("CPU %v: tasks of the cgroup %s run on CPU %v only: start taskiso in one that has them", cpus, printable.Text(own), have)
	}
	if partition.IsOurs(in.Dir) && os.Geteuid() == 0 {
		return room{in.Dir, in.CPUs}, nil
	}
	dir := printable.Text(in.Dir)
	return room{}, fmt.Errorf("CPU %v: only tasks of the cpuset partition in %s run there: start taskiso in it: sudo sh -c 'echo $$ >%s/cgroup.procs; exec taskiso ...'", cpus, dir, dir)
}

// giveRoom decides where the command, or the busy loop, runs.
func (t *Target) giveRoom(files fs.FS, command *launch.Command) error {
	cpus := t.CPUs
	if command != nil {
		cpus = cpus.Union(command.CPUs) // its threads may go from one to the other
	}
	var err error
	if t.room, err = roomFor(files, cpus, t.Home); err != nil {
		return err
	}
	if command != nil {
		command.Cgroup = t.room.cgroup
	} else if t.room.cgroup != "" && t.room.cpus.Minus(t.CPUs).IsEmpty() {
		t.Limits = append(t.Limits, fmt.Sprintf("CPU %v: all that the partition %s has, so the busy loop's own runtime, which wakes up now and then, has no other", t.CPUs, printable.Text(t.room.cgroup)))
	}
	return nil
}

// ForRuntime returns the CPUs for what the busy loop has besides its loops.
func (t *Target) ForRuntime() cpulist.Set {
	if t.room.cgroup == "" {
		return t.Housekeeping
	}
	if rest := t.room.cpus.Minus(t.CPUs); !rest.IsEmpty() {
		return rest
	}
	return t.room.cpus
}

// Cgroup returns the cgroup for the busy loop, "" for that of taskiso.
func (t *Target) Cgroup() string { return t.room.cgroup }
