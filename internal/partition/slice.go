// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"path"

	"github.com/taskiso/taskiso/internal/partition/change"
	"github.com/taskiso/taskiso/internal/systemd"
)

// Where systemd is the first process, it owns all cgroups, and takes controllers
// that none of its units uses from the root cgroup when it next starts one. So the
// cgroup of a partition is a slice: a unit that uses the controller. What systemd
// does not know of a slice, as the kind of its partition, it leaves alone.

// sliceOf returns the directory of a partition's slice.
func sliceOf(name string) string {
	return path.Join(cgroupRoot, systemd.SliceName("taskiso_"+name))
}

// isSystemd tells whether systemd is there to be asked.
func (h *host) isSystemd() bool { return h.exists(systemd.Socket) }

// cgroupOfChanges returns the cgroup that changes make, "" if they make none.
func cgroupOfChanges(changes []change.Change) string {
	for _, c := range changes {
		if dir := c.Directory(); path.Dir(dir) == cgroupRoot {
			return dir
		}
	}
	return ""
}
