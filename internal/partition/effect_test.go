// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"fmt"
	"strings"
	"testing"

	"github.com/taskiso/taskiso/internal/partition/thread"
)

// TestVerifyEffect: all values are as they were written, and one of them does nothing.
func TestVerifyEffect(t *testing.T) {
	const cgroup = "sys/fs/cgroup/taskiso-dpdk/"
	tests := []struct {
		name    string
		without func(*kernel)
		setting string
		reason  string
	}{
		{
			"an interrupt stays where it was", func(k *kernel) {
				k.add("proc/irq/99/smp_affinity_list", "3")
				k.add("proc/irq/99/effective_affinity_list", "3")
				k.add("sys/kernel/irq/99/actions", "eth0-rx")
			}, "irq-affinity", "IRQ 99 goes to CPU 3",
		},
		{
			"unbound work keeps a CPU", func(k *kernel) { k.add(unboundMask, "7") },
			"workqueue", "cpumask still has CPU 2",
		},
		{
			"an unbound worker keeps a CPU", func(k *kernel) { worker(k, 70, "kworker/u8:1", "0-3") },
			"workqueue", "kworker/u8:1 (/proc/70/task/70) may run on CPU 2-3",
		},
		{
			"a thread keeps a CPU", func(k *kernel) { k.thread(71, "1-2") },
			tasksSetting, "may run on CPU 2",
		},
		{
			"the cpuset has not got a CPU", func(k *kernel) { k.add(cgroup+"cpuset.cpus.effective", "2") },
			cpusetSetting, "has only CPU 2",
		},
		{
			"the kernel isolates one CPU only", func(k *kernel) { k.add("sys/fs/cgroup/cpuset.cpus.isolated", "3") },
			cpusetSetting, "does not have CPU 2",
		},
		{
			"load is still balanced", func(k *kernel) { k.add("sys/kernel/debug/sched/domains/cpu3/domain0/name", "MC") },
			cpusetSetting, "CPU 3 is still in 1 scheduling domains",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k, _ := guest(t)
			dir := t.TempDir()
			create(t, k, dir, dpdk)
			if v, err := k.store(t, dir).Verify(t.Context(), "dpdk"); err != nil || !v.OK() {
				t.Fatalf("before: %+v, %v", v, err)
			}
			test.without(k)
			v, err := k.store(t, dir).Verify(t.Context(), "dpdk")
			if err != nil {
				t.Fatal(err)
			}
			if v.OK() || len(v.Missed) != 1 || v.Missed[0].Setting != test.setting || !strings.Contains(v.Missed[0].Reason, test.reason) {
				t.Errorf("missed %+v, want %q: %q", v.Missed, test.setting, test.reason)
			}
			if len(v.Drifts) > 0 && test.name != "unbound work keeps a CPU" { // that mask is what was written, too
				t.Errorf("changed: %+v; the values read back", v.Drifts)
			}
			var b strings.Builder
			if err := v.WriteText(&b); err != nil || !strings.Contains(b.String(), "no effect") {
				t.Errorf("%v: %s", err, b.String())
			}
		})
	}
}

// TestVerifyIdleInterrupt: an interrupt that nobody has asked for reaches nobody.
func TestVerifyIdleInterrupt(t *testing.T) {
	k, _ := guest(t)
	dir := t.TempDir()
	create(t, k, dir, dpdk)
	k.add("proc/irq/30/effective_affinity_list", "3")
	k.add("sys/kernel/irq/30/actions", "")
	if v, err := k.store(t, dir).Verify(t.Context(), "dpdk"); err != nil || !v.OK() {
		t.Errorf("%+v, %v", v, err)
	}
}

const unboundMask = "sys/devices/virtual/workqueue/cpumask"

// worker adds a kernel thread whose affinity nobody can set.
func worker(k *kernel, tid int, name, affinity string) {
	dir := fmt.Sprintf("proc/%d/task/%[1]d/", tid)
	k.add(dir+"status", "Name:\t"+name+"\nCpus_allowed_list:\t"+affinity)
	k.add(dir+"stat", fmt.Sprintf("%d (%s) I 2 0 0 0 -1 %d"+strings.Repeat(" 0", 12)+" 1000 0 0", tid, name, thread.Kthread|thread.NoSetAffinity))
}
