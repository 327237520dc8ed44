// SPDX-License-Identifier: Apache-2.0

package partition_test

import (
	"fmt"
	"testing/fstest"

	"github.com/taskiso/taskiso/internal/partition"
)

// A plan only reads: here a tree of files instead of the machine's own, which is os.DirFS("/").
func ExampleNew() {
	files := fstest.MapFS{}
	for path, text := range map[string]string{
		"sys/devices/system/cpu/possible":       "0-3",
		"sys/devices/system/cpu/online":         "0-3",
		"sys/devices/system/cpu/isolated":       "",
		"sys/devices/virtual/workqueue/cpumask": "f",
		"sys/fs/cgroup/cgroup.controllers":      "cpuset cpu memory",
		"sys/fs/cgroup/cgroup.subtree_control":  "cpu memory",
	} {
		files[path] = &fstest.MapFile{Data: []byte(text + "\n"), Mode: 0o644}
	}
	plan, err := partition.New(partition.Spec{Name: "dpdk", CPUs: "2-3", Profile: partition.Throughput}, files)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("CPU %v isolated, CPU %v for everything else\n", plan.CPUs, plan.Housekeeping)
	for _, c := range plan.All() {
		fmt.Println(c)
	}
	// Output:
	// CPU 2-3 isolated, CPU 0-1 for everything else
	// /sys/devices/virtual/workqueue/cpumask: CPU 0-3 → CPU 0-1
	// /sys/fs/cgroup/cgroup.subtree_control: +cpuset
	// /sys/fs/cgroup/taskiso-dpdk: made
	// /sys/fs/cgroup/taskiso-dpdk/cpuset.cpus: no CPU → CPU 2-3
	// /sys/fs/cgroup/taskiso-dpdk/cpuset.cpus.partition: member → isolated
}
