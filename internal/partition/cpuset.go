// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/taskiso/taskiso/internal/partition/change"
)

func cpusetKnob() knob {
	return knob{
		name:   cpusetSetting,
		why:    "tasks are moved to any CPU of their cpuset, and load is balanced between all of them",
		source: "Documentation/admin-guide/cgroup-v2.rst: cpuset.cpus.partition",
		plan:   planCpuset,
		rate:   rate{perHour: 8000, text: "whenever other CPUs are busy"},
		reads:  []string{"run/systemd/private", "run/systemd/system", "sys/fs/cgroup/*/cpuset.cpus", "sys/fs/cgroup/*/cpuset.cpus.partition", "sys/fs/cgroup/cgroup.controllers", "sys/fs/cgroup/cgroup.subtree_control", "sys/fs/cgroup/cpuset", "sys/fs/cgroup/cpuset/cpuset.cpus", "sys/fs/cgroup/taskiso-*", "sys/fs/cgroup/taskiso_*"},
	}
}

// planCpuset makes a cgroup of its own below the root cgroup, which always is a valid
// partition root, so that no other cgroup has to be changed.
func planCpuset(h *host) (found, error) {
	var f found
	if h.spec.Partition == None {
		return f, because(errNeedless, "the spec wants no cpuset partition")
	}
	controllers, err := controllers(h)
	if err != nil {
		return f, err
	}
	if !slices.Contains(controllers, "cpuset") {
		return f, because(errFixed, "cgroup v2 does not have the controller cpuset, only %q", strings.Join(controllers, " "))
	}
	dir := Cgroup(h.spec.Name)
	if h.isSystemd() {
		dir = sliceOf(h.spec.Name)
	}
	if h.exists(dir) {
		return f, fmt.Errorf("%s exists already: choose another name, or undo the partition that has this one", dir)
	}
	if f.changes, err = makeCgroup(h, dir); err != nil {
		return f, err
	}
	kind := change.Change{Path: dir + "/cpuset.cpus.partition", From: "member", To: h.spec.Partition, Kind: change.Partition{}}
	switch atBoot := h.cpus.Intersect(h.bootIsolated); {
	case atBoot.IsEmpty():
	case atBoot == h.cpus:
		kind.MayFail = true
		f.note("CPU %v: isolated at boot; a kernel that makes no partition of such CPUs leaves the cgroup without one; no load is balanced there anyway", h.cpus)
	default:
		f.note("CPU %v: isolated at boot, CPU %v: not; kernels such as 6.12 make no partition of both (\"conflicts with housekeeping setup\"), and creating fails there: ask for one or the other, or boot with other words (\"taskiso partition boot\")", atBoot, h.cpus.Minus(atBoot))
	}
	f.changes = append(f.changes, kind)
	noteRivalCpusets(h, &f)
	f.note("tasks that are to run there are written to %s/cgroup.procs", dir)
	switch {
	case h.isSystemd():
		f.note("services run there with Slice=%s", path.Base(dir))
	case h.exists("/run/systemd/system"):
		f.note("systemd, which cannot be asked here, takes the controller cpuset from the root cgroup when it next starts a unit, and the partition with it")
	}
	return f, nil
}

// makeCgroup makes a cgroup with the CPUs, or lets systemd make it.
func makeCgroup(h *host, dir string) ([]change.Change, error) {
	if h.isSystemd() {
		return []change.Change{{Path: dir, To: h.cpus.String(), Kind: change.Slice{}}}, nil
	}
	changes, err := h.set(cgroupRoot+"/cgroup.subtree_control", change.Controller{}, "+cpuset")
	return append(changes,
		change.Make(dir),
		change.Change{Path: dir + "/cpuset.cpus", To: h.cpus.String(), Kind: change.List{}}), err
}

// noteRivalCpusets names the cgroups whose own list has the CPUs, and that are not a
// partition. A warning names those that are.
func noteRivalCpusets(h *host, f *found) {
	owners, _ := Owners(h.files, h.cpus) // a warning is printed if there are more
	for _, o := range owners {
		if partitionOf(h.files, o).Partition == "" {
			f.note("%v has CPU %v in its cpuset.cpus: older kernels then refuse the partition (\"not exclusive\"); take them out there first", o, o.CPUs.Intersect(h.cpus))
		}
	}
}

// makesCpuset reports whether there will be a cpuset partition.
func makesCpuset(h *host) bool {
	controllers, _ := controllers(h) // without cgroup v2 there will be none
	return h.spec.Partition != None && !h.mounts.on(cgroupRoot+"/cpuset.cpus").readOnly && !slices.Contains(h.spec.Skip, cpusetSetting) && slices.Contains(controllers, "cpuset")
}

func controllers(h *host) ([]string, error) {
	text, err := h.read(cgroupRoot + "/cgroup.controllers")
	if err == nil {
		return strings.Fields(text), nil
	}
	if errors.Is(err, errLacking) && h.exists(cgroupRoot+"/cpuset") {
		return nil, because(errFixed, "the controller cpuset belongs to cgroup v1, which has no partitions (systemd.unified_cgroup_hierarchy=1 gives cgroup v2)")
	}
	if errors.Is(err, errLacking) {
		return nil, because(errFixed, "%v", err)
	}
	return nil, err
}
