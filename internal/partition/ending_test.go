// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"slices"
	"testing"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/partition/thread"
)

// A setting that ends a cause is one that there is.
func TestEndingsAreSettings(t *testing.T) {
	for cause, setting := range EndingCauses() {
		if !slices.Contains(Settings(), setting) {
			t.Errorf("%s ends with the setting %q, which there is not", cause, setting)
		}
	}
}

func planOf(t *testing.T, name string) *Plan {
	t.Helper()
	for _, m := range machines() {
		if m.name == name {
			p, err := New(m.spec, m.tree(t).files(t))
			if p == nil {
				t.Fatal(err)
			}
			return p
		}
	}
	t.Fatalf("no machine %s", name)
	return nil
}

// What a plan ends is what it changes on that machine.
func TestEnding(t *testing.T) {
	cpus := func(list string) cpulist.Set {
		s, err := cpulist.Parse(list)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	running := []thread.Thread{
		{Name: "cron", Allowed: cpus("0-3")}, {Name: "pinned", Allowed: cpus("1")}, {Name: "pinned", Allowed: cpus("2")},
		{Name: "here", Allowed: cpus("1")}, {Name: "rcu_preempt", Allowed: cpus("0-3"), Flags: thread.Kthread},
		{Name: "kworker/1:1", Allowed: cpus("1"), Flags: thread.Kthread | thread.NoSetAffinity},
	}
	for _, tc := range []struct {
		machine, cause, detail string
		want                   Ending
	}{
		{"guest-4cpu", "task-user", "cron", Ends},
		{"guest-4cpu", "task-user", "pinned", Ends}, // a cpuset moves them, too
		{"guest-4cpu", "task-user", "ended", Ends},
		{"guest-4cpu", "task-rcu", "rcu_preempt", Ends},
		{"guest-4cpu", "task-kernel", "kworker/1:1", Remains},
		{"guest-4cpu", "task-kernel", "ended", Unclear},
		{"guest-4cpu", "stopper-balance", "", Ends},
		{"guest-4cpu", "tick", "", Remains},
		{"guest-4cpu", "syscall", "read", Remains},
		{"guest-4cpu", "irq", "999 no-such", Remains},
		{"guest-4cpu-none", "task-user", "cron", Ends},
		{"guest-4cpu-none", "task-user", "pinned", Unclear},
		{"guest-4cpu-none", "task-user", "here", Remains},
		{"guest-4cpu-none", "stopper-balance", "", Remains},
		{"guest-4cpu-none", "ipi-tlb-user-khugepaged", "", Remains}, // its spec skips that
		{"vm-2cpu", "ipi-rt-push", "", Remains},                     // without cgroup v2
		{"container", "timer-rt-throttling", "", Remains},
	} {
		if got := planOf(t, tc.machine).Ending(tc.cause, tc.detail, running); got != tc.want {
			t.Errorf("%s: %s %s %s, want %s", tc.machine, tc.cause, tc.detail, got, tc.want)
		}
	}
}

// An interrupt ends if it is among those that the plan moves, a setting only if it is changed as a whole.
func TestEndingOfSettings(t *testing.T) {
	p := planOf(t, "guest-4cpu")
	irq := p.setting("irq-affinity")
	if irq.State != Changes {
		t.Fatalf("irq-affinity is %s", irq.State)
	}
	moved := partsOf(3)(irq.Changes)[0]
	if got := p.Ending("irq", moved+" eth0", nil); got != Ends {
		t.Errorf("interrupt %s: %s", moved, got)
	}
	if got := p.Ending("task-irq-thread", "irq/"+moved+"-eth0", nil); got != Ends {
		t.Errorf("its thread: %s", got)
	}
	irq.Short = "too few vectors"
	if got := p.Ending("irq", moved+" eth0", nil); got != Unclear {
		t.Errorf("with too few vectors: %s", got)
	}
	irq.State = Refused
	if got := p.Ending("irq", moved+" eth0", nil); got != Remains {
		t.Errorf("of a plan that is refused: %s", got)
	}
	irq.State = Unknown
	if got := p.Ending("irq", moved+" eth0", nil); got != Unclear {
		t.Errorf("of a setting that cannot be read: %s", got)
	}
	cpuset := p.setting(cpusetSetting)
	cpuset.Changes[len(cpuset.Changes)-1].MayFail = true // as on CPUs that are isolated at boot
	if got := p.Ending("stopper-balance", "", nil); got != Unclear {
		t.Errorf("with a cpuset partition that the kernel may refuse: %s", got)
	}
}
