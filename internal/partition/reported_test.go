// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

// reported is a machine of the kind that users report, as small as it can be: what
// its kernel has made of its command line, and what was asked for. The answers are in
// testdata/reported.golden.
type reported struct {
	name, what string
	spec       Spec
	tree       tree
}

// pc is an x86 machine with one thread to a core, and what else it takes to be of a release.
func pc(cpus int, since release, line, isolated, nohzFull string) tree {
	m := tree{}
	all := fmt.Sprintf("0-%d", cpus-1)
	for path, text := range map[string]string{
		"proc/cmdline":                     line,
		"proc/mounts":                      "sysfs /sys sysfs rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0",
		"proc/irq/1/smp_affinity_list":     all,
		"sys/devices/system/cpu/online":    all,
		"sys/devices/system/cpu/possible":  all,
		"sys/devices/system/cpu/isolated":  isolated,
		"sys/devices/system/cpu/nohz_full": nohzFull,
		"sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc",
		"sys/devices/system/machinecheck/machinecheck0/check_interval":    "300",
		"sys/fs/cgroup/cgroup.controllers":                                "cpuset cpu memory",
		"sys/fs/cgroup/cgroup.subtree_control":                            "cpu memory",
		"proc/1/comm":                                                     "init",
	} {
		m.add(path, text)
	}
	for _, dir := range alwaysThere {
		m[strings.TrimPrefix(dir, "/")+"/"] = treeFile{"", fs.ModeDir | 0o755}
	}
	siblings := "core_cpus_list"
	if since < 5003 {
		siblings = "thread_siblings_list"
	}
	for cpu := range cpus {
		m.add(fmt.Sprintf("sys/devices/system/cpu/cpu%d/topology/%s", cpu, siblings), fmt.Sprint(cpu))
	}
	if since >= 4002 {
		m.add("sys/devices/virtual/workqueue/cpumask", "1")
	}
	if since >= 5013 {
		m.add("sys/kernel/debug/sched/debug", "")
	}
	if since >= 6000 {
		m.add("proc/sys/net/core/skb_defer_max", "0")
	}
	if since >= 6012 {
		m.add("sys/kernel/debug/sched/fair_server/cpu0/runtime", "0")
		m.add("sys/module/rcutree/parameters/nohz_full_patience_delay", "0")
	}
	return m
}

// threads gives each core two threads that are half the number of CPUs apart.
func (m tree) twoThreads(cpus int, file string) tree {
	for cpu := range cpus {
		core := cpu % (cpus / 2)
		m.add(fmt.Sprintf("sys/devices/system/cpu/cpu%d/topology/%s", cpu, file), fmt.Sprintf("%d,%d", core, core+cpus/2))
	}
	return m
}

// board is an arm64 one: without TSC and machine checks.
func (m tree) board() tree {
	m.add("sys/devices/system/clocksource/clocksource0/current_clocksource", "arch_sys_counter")
	return m.without("sys/devices/system/machinecheck/")
}

// cgroup1 has cgroups of version 1, below a tmpfs that is read-only as systemd mounts it.
func (m tree) cgroup1() tree {
	m.add("proc/mounts", "sysfs /sys sysfs rw 0 0\ntmpfs /sys/fs/cgroup tmpfs ro 0 0\ncgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0")
	m.add("sys/fs/cgroup/cpuset/cpuset.cpus", "0")
	return m.without("sys/fs/cgroup/cgroup.")
}

func (m tree) without(prefix string) tree {
	for path := range m {
		if strings.HasPrefix(path, prefix) {
			delete(m, path)
		}
	}
	return m
}

func (m tree) with(path, text string) tree {
	m.add(path, text)
	return m
}

func reportedMachines() []reported {
	old := func(line string) tree { return pc(8, 4015, line, "", "").without("sys/devices/system/cpu/nohz_full") }
	many := pc(32, 6004, "nohz_full=2-31", "", "2-31")
	for n := range 600 {
		many.add(fmt.Sprintf("proc/irq/%d/smp_affinity_list", n), fmt.Sprint(n%32))
	}
	zero := pc(4, 6001, "quiet", "", "(null)").without("sys/devices/system/machinecheck/machinecheck0").without("sys/devices/system/cpu/cpu0/").
		with("sys/devices/system/cpu/online", "1-3").with("sys/devices/system/machinecheck/machinecheck1/check_interval", "300")
	modules := pc(8, 6012, "quiet", "", "(null)")
	for cpu := range 8 {
		modules.add(fmt.Sprintf("sys/devices/system/cpu/cpu%d/topology/cluster_cpus_list", cpu), fmt.Sprintf("%d-%d", cpu/4*4, cpu/4*4+3))
	}
	return []reported{
		{"flag-nohz-twice", "the second parameter is dropped", Spec{CPUs: "2-5"}, pc(8, 6012, "nohz_full=2-5 isolcpus=nohz,domain,managed_irq,2-5 irqaffinity=0-1,6-7", "", "2-5")},
		{"flag-nohz-twice-taken", "an older kernel takes both", Spec{CPUs: "2-5"}, pc(8, 6012, "nohz_full=2-5 isolcpus=nohz,domain,managed_irq,2-5 irqaffinity=0-1,6-7", "2-5", "2-5")},
		{"flag-nohz-only", "the tick is stopped by isolcpus=", Spec{CPUs: "2-3"}, pc(4, 6012, "isolcpus=nohz,domain,managed_irq,2-3", "2-3", "2-3")},
		{"boot-cpu-only-present", "the kernel knew only CPU 0 when it read the list", Spec{CPUs: "0"}, pc(4, 5010, "isolcpus=0", "", "").board().cgroup1().without("sys/devices/system/cpu/nohz_full")},
		{"clock-hpet", "the clock is no proof of a tick", Spec{CPUs: "2-3"}, pc(4, 6012, "nohz_full=2-3 isolcpus=managed_irq,2-3 irqaffinity=0-1", "", "2-3").with("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet")},
		{"clock-hpet-stable", "the scheduler says that its clock is stable", Spec{CPUs: "2-3"}, pc(4, 6012, "nohz_full=2-3", "", "2-3").with("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet").with("sys/kernel/debug/sched/debug", "sched_clk : 1.0\nsched_clock_stable()                    : 1")},
		{"machine-checks-off", "a stronger word; the TSC is off by one of its own; psi in another spelling", Spec{CPUs: "2-3"}, pc(4, 6012, "nohz_full=2-3 mce=off notsc psi=off", "", "2-3").without("sys/devices/system/machinecheck/").with("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet").with("proc/pressure/cpu", "some")},
		{"nomce", "the other word for it; notsc without effect", Spec{CPUs: "2-3"}, pc(4, 6012, "nohz_full=2-3 nomce notsc psi=1", "", "2-3").without("sys/devices/system/machinecheck/").with("proc/pressure/cpu", "some")},
		{"machine-checks-on-again", "what is in effect counts, not the word", Spec{CPUs: "2-3"}, pc(4, 6012, "nohz_full=2-3 mce=off", "", "2-3").with("sys/devices/system/machinecheck/machinecheck0/ignore_ce", "0")},
		{"corrected-errors-ignored", "nothing polls for them", Spec{CPUs: "2-3"}, pc(4, 6012, "nohz_full=2-3 mce=ignore_ce", "", "2-3").with("sys/devices/system/machinecheck/machinecheck0/ignore_ce", "1")},
		{"quotes-and-dashes", "as configuration tools write them", Spec{CPUs: "2-3"}, pc(4, 6012, `isolcpus="managed_irq,2-3" nohz-full=2-3 "irqaffinity=0-1"`, "", "2-3")},
		{"tick-off-for-nobody", "no tick is ever stopped", Spec{CPUs: "2-3"}, pc(4, 6012, "nohz_full=2-3 nohz=off", "", "2-3")},
		{"quote-not-closed", "what is added behind it would be swallowed", Spec{CPUs: "2-3"}, pc(4, 6012, `quiet isolcpus="managed_irq,2-3 nohz_full=2-3`, "", "(null)")},
		{"words-for-init", "they are behind two dashes", Spec{CPUs: "2-3"}, pc(4, 6012, "quiet -- nohz_full=2-3", "", "(null)")},
		{"isolated-unseen", "no file shows it", Spec{CPUs: "2-3"}, pc(4, 3010, "isolcpus=2-3", "", "").cgroup1().without("sys/devices/system/cpu/isolated").without("sys/devices/system/cpu/nohz_full")},
		{"list-to-the-end", "N, all CPUs for interrupts, and a stronger word for the TSC", Spec{CPUs: "2-7"}, pc(8, 6012, "tsc=reliable isolcpus=managed_irq,domain,2-N nohz_full=2-N irqaffinity=0,1,2,3,4,5,6,7", "2-7", "2-7")},
		{"isolated-and-offline", "before flags; what was isolated is offline", Spec{CPUs: "4-5"}, pc(6, 4009, "isolcpus=1-2", "1-2", "").board().cgroup1().without("sys/devices/system/cpu/nohz_full").with("sys/devices/system/cpu/online", "0,3-5")},
		{"old-siblings", "threads by the older file", Spec{CPUs: "1-2"}, pc(8, 3010, "ro", "", "(null)").cgroup1().twoThreads(8, "thread_siblings_list")},
		{"old-required", "what cannot be done is refused", Spec{CPUs: "1-2", Require: []string{"cpuset", "workqueue"}}, old("ro").without("sys/devices/virtual/workqueue").cgroup1()},
		{"siblings-unknown", "they cannot be taken offline", Spec{CPUs: "1-2", Siblings: Offline}, pc(4, 6012, "ro", "", "").without("sys/devices/system/cpu/cpu")},
		{"cache-not-divided", "nothing is made without what was asked for", Spec{CPUs: "1-2", CacheWays: 4}, pc(4, 6012, "ro", "", "(null)")},
		{"balancer-unknown", "an older irqbalance has no file", Spec{CPUs: "2-3", Require: []string{"irqbalance"}}, old("ro").without("proc/1/")},
		{"balancer-abstract", "one that runs", Spec{CPUs: "2-3", Require: []string{"irqbalance"}}, old("ro").with("proc/77/comm", "irqbalance")},
		{"no-debugfs", "what only debugfs shows is unknown", Spec{CPUs: "2-3"}, pc(4, 6012, "quiet", "", "(null)").without("sys/kernel/debug/")},
		{"too-many-interrupts", "600 for two CPUs", Spec{CPUs: "2-31"}, many},
		{"first-cpu-offline", "its settings are those of the next one", Spec{CPUs: "2-3"}, zero},
		{"isolated-cgroup1", "isolated at boot, no cpuset partition", Spec{CPUs: "2-3"}, pc(4, 5016, "BOOT_IMAGE=/boot/vmlinuz-5.16.0-1-amd64 isolcpus=2-3 nohz_full=2-3 irqaffinity=0,1", "2-3", "2-3").cgroup1()},
		{"isolated-release-unknown", "what works is not given up for a flag", Spec{CPUs: "2-3"}, pc(4, 5003, "isolcpus=2-3", "2-3", "")},
		{"isolated-more", "more than was asked for", Spec{CPUs: "4-7"}, pc(8, 6012, "isolcpus=managed_irq,domain,2-7 nohz_full=2-7 irqaffinity=0-1 tsc=reliable", "2-7", "2-7")},
		{"isolated-others", "boots with other CPUs", Spec{CPUs: "2-4"}, pc(8, 6012, "isolcpus=4-7", "4-7", "(null)")},
		{"isolated-in-part", "of the CPUs that are asked for one is isolated at boot", Spec{CPUs: "2-4"}, pc(8, 6012, "isolcpus=4-7 nohz_full=4-7", "4-7", "4-7")},
		{"slices", "the innermost ones have the CPUs", Spec{CPUs: "4-7"}, pc(8, 6012, "isolcpus=managed_irq,domain,4-7 nohz_full=4-7 irqaffinity=0-3 tsc=reliable", "4-7", "4-7").
			with("sys/fs/cgroup/machine.slice/cpuset.cpus", "2-7").with("sys/fs/cgroup/machine.slice/cpuset.cpus.partition", "member").
			with("sys/fs/cgroup/machine.slice/machine-rt.slice/cpuset.cpus", "4-7").with("sys/fs/cgroup/machine.slice/machine-other.slice/cpuset.cpus", "2-3").
			with("sys/fs/cgroup/system.slice/cpuset.cpus", "0-1")},
		{"slices-in-part", "an outer one has those that no inner one has", Spec{CPUs: "2-5"}, pc(8, 6012, "quiet", "", "(null)").
			with("sys/fs/cgroup/machine.slice/cpuset.cpus", "2-7").with("sys/fs/cgroup/machine.slice/machine-rt.slice/cpuset.cpus", "4-7")},
		{"isolated-by-partition", "not at boot", Spec{CPUs: "2-3"}, pc(4, 6012, "nohz_full=2-3", "2-3", "2-3")},
		{"partition-of-others", "isolated by another program, which keeps them", Spec{CPUs: "2-3"}, pc(4, 6012, "nohz_full=2-3", "2-3", "2-3").with("sys/fs/cgroup/other/cpuset.cpus", "2-3").with("sys/fs/cgroup/other/cpuset.cpus.partition", "isolated")},
		{"read-only-in-part", "one setting that cannot be written is enough", Spec{CPUs: "2-3"}, pc(4, 6001, "ro", "", "(null)").with("proc/mounts", "sysfs /sys sysfs rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\nproc /proc/irq proc ro 0 0")},
		{"isolated-first-cpu", "CPU 0 is asked for", Spec{CPUs: "0-1"}, pc(4, 6012, "quiet", "", "(null)")},
		{"kept-for-time", "a kernel that can suspend keeps CPU 0", Spec{CPUs: "0-1"}, pc(4, 6012, "nohz_full=0-1", "", "1")},
		{"cluster", "four cores share a cache", Spec{CPUs: "4-5"}, modules},
		{"no-threads", "booted without the second ones", Spec{CPUs: "2-3"}, pc(4, 6012, "nosmt", "", "(null)").with("sys/devices/system/cpu/possible", "0-7").with("proc/irq/1/smp_affinity_list", "0-7")},
		{"banned-twice", "the mask goes before the list, and the last line of each counts", Spec{CPUs: "2-3"}, pc(4, 6012, "quiet", "", "(null)").with("etc/default/irqbalance", "IRQBALANCE_BANNED_CPUS=c\nIRQBALANCE_BANNED_CPULIST=2-3\nIRQBALANCE_BANNED_CPUS=2").with("run/irqbalance/irqbalance9.sock", "")},
		{"banned-again", "the last line counts, and an empty mask for nothing", Spec{CPUs: "2-3"}, pc(4, 6012, "quiet", "", "(null)").with("etc/default/irqbalance", "IRQBALANCE_BANNED_CPULIST=3-2\nexport IRQBALANCE_BANNED_CPULIST=\"1-3\"\nIRQBALANCE_BANNED_CPUS=").with("run/irqbalance/irqbalance9.sock", "")},
		{"banned-nonsense", "a list that is none", Spec{CPUs: "2-3"}, pc(4, 6012, "quiet", "", "(null)").with("etc/default/irqbalance", "#x\nIRQBALANCE_BANNED_CPULIST=\"3-2\"").with("run/irqbalance/irqbalance9.sock", "")},
		{"nothing-written", "in a container", Spec{CPUs: "2-3"}, pc(4, 6008, "ro", "", "(null)").with("proc/mounts", "proc /proc proc rw 0 0\nsysfs /sys sysfs ro 0 0\ncgroup2 /sys/fs/cgroup cgroup2 ro 0 0\nproc /proc/irq proc ro 0 0\nproc /proc/sys proc ro 0 0")},
		{"holes", "CPUs that are not there", Spec{CPUs: "12-13"}, pc(16, 6010, "ro", "", "(null)").board().with("sys/devices/system/cpu/online", "0-1,10-15").with("sys/devices/system/cpu/possible", "0-15")},
		{"board", "isolated at boot on arm64", Spec{CPUs: "1-3"}, pc(4, 5015, "isolcpus=managed_irq,domain,1-3 nohz_full=1-3 irqaffinity=0", "1-3", "1-3").board()},
		{"no-full-dynticks", "built without it", Spec{CPUs: "2-3"}, pc(4, 6001, "isolcpus=2-3 nohz_full=2-3", "2-3", "").without("sys/devices/system/cpu/nohz_full")},
		{"empty-values", "of a profile whose variable was empty", Spec{CPUs: "2-3"}, pc(4, 5014, "BOOT_IMAGE=(hd0)/vmlinuz-5.14.0-1.x86_64 isolcpus= nohz_full= irqaffinity=", "", "(null)")},
		{"tick-only", "threads wander", Spec{CPUs: "2-3"}, pc(4, 6001, "nohz_full=2-3 rcu_nocbs=2-3", "", "2-3")},
		{"many-cpus", "numbers above 1,023", Spec{CPUs: "1030-1031"}, pc(1032, 6012, "nohz_full=1030-1031 isolcpus=managed_irq,1030-1031 irqaffinity=0-1029", "", "1030-1031").without("proc/irq/")},
	}
}

// writeNotes writes those of a cpuset that are about this machine.
func writeNotes(b *bytes.Buffer, s Setting) {
	for _, note := range s.Notes {
		if s.Name == cpusetSetting && !strings.HasPrefix(note, "tasks that are to run") && !strings.HasPrefix(note, "services run there") {
			fmt.Fprintf(b, "          note: %s\n", note)
		}
	}
}

// TestReported: the answers for such machines, without what is the same for all of them.
func TestReported(t *testing.T) {
	var b bytes.Buffer
	for _, m := range reportedMachines() {
		fmt.Fprintf(&b, "== %s: %s; CPU %s\n", m.name, m.what, m.spec.CPUs)
		files := m.tree.files(t)
		p, err := New(m.spec, files)
		if err != nil {
			fmt.Fprintf(&b, "refused: %v\n", err)
		}
		boot, bootErr := NewBoot(m.spec, files)
		g, gradeErr := NewGrade(m.spec, files)
		if err := errors.Join(bootErr, gradeErr); err != nil || p == nil {
			t.Fatalf("%s: %v", m.name, err)
		}
		if p.Refused != "" {
			fmt.Fprintf(&b, "create refuses: %s.\n", p.Refused)
		}
		for _, w := range p.Warnings {
			fmt.Fprintf(&b, "Warning: %s.\n", w)
		}
		for _, s := range p.Settings {
			if slices.Contains([]string{"irqbalance", "irq-affinity", "workqueue", "fair-server", "mce-polling", "smt", "cpuset"}, s.Name) {
				fmt.Fprintf(&b, "plan: %s %s %s\n", s.State, s.Name, s.Reason)
				writeChanges(&b, s.Changes)
				writeNotes(&b, s)
			}
		}
		if err := boot.WriteText(&b); err != nil {
			t.Fatal(err)
		}
		for _, h := range g.Hazards {
			fmt.Fprintf(&b, "doctor: %s %s\n", h.When, h.Name)
			if h.Name == "nohz_full" || h.Name == "isolcpus" {
				fmt.Fprintf(&b, "          %s → %s\n", h.What, h.Remedy)
			}
		}
		b.WriteByte('\n')
	}
	compareGolden(t, "reported", b.Bytes())
}
