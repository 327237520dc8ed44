// SPDX-License-Identifier: Apache-2.0

package place

import (
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/taskiso/taskiso/cpulist"
)

// TestRoom: tasks run where taskiso was started if that cgroup has their CPUs, or in the
// partition of taskiso's that has them; another's is named.
func TestRoom(t *testing.T) {
	partitionIn := func(dir, cpus string) map[string]string {
		return map[string]string{
			"sys/fs/cgroup/cgroup.controllers":                "cpuset",
			"sys/fs/cgroup/cpuset.cpus.effective":             "0-1",
			"sys/fs/cgroup/" + dir + "/cpuset.cpus":           cpus,
			"sys/fs/cgroup/" + dir + "/cpuset.cpus.partition": "isolated",
			"sys/fs/cgroup/" + dir + "/cpuset.cpus.effective": cpus,
		}
	}
	const cgroups = "/sys/fs/cgroup"
	for _, tc := range []struct {
		name            string
		files           map[string]string
		own, home, cpus string
		want            string // cgroup
		refused         string
		privileged      bool
	}{
		{name: "no cgroups", cpus: "3"},
		{name: "no partition", files: map[string]string{"sys/fs/cgroup/cpuset.cpus.effective": "0-3"}, cpus: "2-3"},
		{name: "ours", files: partitionIn("taskiso-mine", "2-3"), cpus: "3", want: cgroups + "/taskiso-mine", privileged: true},
		{name: "ours, below a shell's", files: partitionIn("taskiso-mine", "2-3"), own: "/user.slice/shell", cpus: "2-3", want: cgroups + "/taskiso-mine", privileged: true},
		{name: "slice", files: partitionIn("taskiso_mine.slice", "2-3"), cpus: "3", want: cgroups + "/taskiso_mine.slice", privileged: true},
		{name: "in it", files: partitionIn("taskiso-mine", "2-3"), own: "/taskiso-mine", cpus: "3"},
		{name: "below it", files: partitionIn("lpm", "2-3"), own: "/lpm/x", cpus: "3"},
		{name: "left it", files: partitionIn("lpm", "2-3"), home: cgroups + "/lpm/x", cpus: "3", want: cgroups + "/lpm/x"},
		{name: "another's", files: partitionIn("lpm", "2-3"), cpus: "3", refused: "only tasks of the cpuset partition in /sys/fs/cgroup/lpm run there"},
		{name: "deep", files: partitionIn("machine.slice/machine-rt.slice", "2-3"), cpus: "3", refused: "echo $$ >/sys/fs/cgroup/machine.slice/machine-rt.slice/cgroup.procs;"},
		{name: "name like ours elsewhere", files: partitionIn("a/taskiso-mine", "2-3"), cpus: "3", refused: "in /sys/fs/cgroup/a/taskiso-mine run"},
		{name: "half of it", files: partitionIn("taskiso-mine", "2-3"), cpus: "1-2", refused: "CPU 1-2: tasks of the cgroup /sys/fs/cgroup run on CPU 0-1 only"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.privileged && os.Geteuid() != 0 {
				t.Skip("only root enters a partition")
			}
			files := map[string]string{"proc/self/cgroup": "0::" + "/" + strings.TrimPrefix(tc.own, "/")}
			maps.Copy(files, tc.files)
			tree := make(fstest.MapFS)
			for name, content := range files {
				tree[name] = &fstest.MapFile{Data: []byte(content + "\n")}
			}
			cpus, err := cpulist.Parse(tc.cpus)
			if err != nil {
				t.Fatal(err)
			}
			r, err := roomFor(tree, cpus, tc.home)
			if got := fmt.Sprint(err); (err != nil) != (tc.refused != "") || !strings.Contains(got, tc.refused) {
				t.Fatalf("got %v, want %q", err, tc.refused)
			}
			if r.cgroup != tc.want {
				t.Errorf("got the cgroup %q, want %q", r.cgroup, tc.want)
			}
		})
	}
}
