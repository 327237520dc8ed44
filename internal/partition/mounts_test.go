// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"testing"

	"github.com/taskiso/taskiso/internal/partition/change"
)

// TestReadOnly: a mount stops changes that are written to files on it, not those that another program or a system call
// makes; of two mounts on a directory the later one counts.
func TestReadOnly(t *testing.T) {
	m := tree{}
	m.add("proc/mounts", "sysfs /sys sysfs ro 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 ro 0 0\ntmpfs /run tmpfs ro 0 0\nproc /proc proc ro 0 0\nproc /proc/sys proc rw 0 0")
	all := readMounts(m.files(t))
	for _, test := range []struct {
		path string
		kind change.Kind
		want string
	}{
		{"/sys/kernel/mm/ksm/run", change.Text{}, "/sys"},
		{"/sys/fs/cgroup/taskiso-x", change.Directory{}, "/sys/fs/cgroup"},
		{"/sys/fs/cgroup/taskiso_x.slice", change.Slice{}, ""},
		{"/run/irqbalance/irqbalance7.sock", change.Banned{}, ""},
		{"/proc/41/task/41", change.Affinity{}, ""},
		{"/proc/sys/vm/stat_interval", change.Text{}, ""},
		{"/proc/irq/7/smp_affinity_list", change.List{}, "/proc"},
	} {
		if dir, found := all.readOnly([]change.Change{{Path: test.path, Kind: test.kind}}); dir != test.want || found != (test.want != "") {
			t.Errorf("%s: read-only by %q, %v; want %q", test.path, dir, found, test.want)
		}
	}
}
