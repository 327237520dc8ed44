// SPDX-License-Identifier: Apache-2.0

package cause

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/remedy"
)

// guarded is a file tree with one file that may not be read.
type guarded struct {
	fstest.MapFS
	secret string
}

func (g guarded) ReadFile(name string) ([]byte, error) {
	if name == g.secret {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return g.MapFS.ReadFile(name)
}

func machine() *Machine {
	files := fstest.MapFS{}
	for name, content := range map[string]string{
		"proc/cmdline":                         "BOOT_IMAGE=/vmlinuz nohz_full=2,3 nosoftlockup mce=off intel-idle.max_cstate=\"0\"\n",
		"proc/sys/kernel/nmi_watchdog":         "0\n",
		"proc/sys/kernel/printk":               "4\t4\t1\t7\n",
		"sys/kernel/thp":                       "always madvise [never]\n",
		"sys/devices/system/cpu/nohz_full":     "2-3\n",
		"sys/devices/system/cpu/none":          "(null)\n",
		"sys/workqueue/cpumask":                "00000003\n",
		"sys/machinecheck/machinecheck0/ce":    "1\n",
		"sys/machinecheck/machinecheck1/ce":    "0\n",
		"sys/kernel/debug/sched/fair/cpu0/run": "50000000\n",
		"sys/class/net/eth0/rx-0/rps_cpus":     "00000003\n",
		"sys/class/net/eth0/rx-1/rps_cpus":     "0000000f\n",
		"sys/kernel/debug/sched/debug":         "ktime : 1.5\nsched_clock_stable()                    : 0\n",
	} {
		files[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return NewMachine(guarded{files, "sys/kernel/debug/sched/fair/cpu0/run"})
}

func cpus(t *testing.T, list string) cpulist.Set {
	t.Helper()
	s, err := cpulist.ParseSysfs(list)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConditions(t *testing.T) {
	m := machine()
	for _, tc := range []struct {
		text string
		cpus string
		want answer
	}{
		{"exists /proc/cmdline", "", yes},
		{"exists /proc/nothing", "", no},
		{"not exists /proc/nothing", "", yes},
		{"exists /sys/machinecheck/machinecheck*/ce", "", yes},
		{"boot nosoftlockup", "", yes},
		{"boot nosoft", "", no},
		{"boot intel_idle.max_cstate=0", "", yes},
		{"boot nohz_full=*", "", yes},
		{"boot nohz=*", "", no},
		{"boot mce=ignore_ce", "", no},
		{"/proc/sys/kernel/nmi_watchdog = 0", "", yes},
		{"/proc/sys/kernel/nmi_watchdog = 1", "", no},
		{"/proc/sys/kernel/nothing = 1", "", no},
		{"/sys/kernel/thp = never", "", yes},
		{"/sys/kernel/thp = madvise", "", no},
		{"/proc/sys/kernel/printk <= 4", "", yes},
		{"/proc/sys/kernel/printk <= 3", "", no},
		{"/proc/sys/kernel/printk >= 4", "", yes},
		{"/proc/sys/kernel/printk >= 5", "", no},
		{"/sys/kernel/thp >= 5", "", unclear},
		{"/sys/devices/system/cpu/nohz_full lists CPU", "3", yes},
		{"/sys/devices/system/cpu/nohz_full lists CPU", "1-3", no},
		{"/sys/devices/system/cpu/nohz_full lists CPU", "", unclear},
		{"not /sys/devices/system/cpu/nohz_full lists CPU", "", unclear},
		{"not /sys/devices/system/cpu/nohz_full lists CPU", "1", yes},
		{"/sys/devices/system/cpu/none lists CPU", "3", no},
		{"/sys/devices/system/cpu/nothing lists CPU", "3", no},
		{"/sys/workqueue/cpumask masks CPU", "1,3", yes},
		{"not /sys/workqueue/cpumask masks CPU", "2-3", yes},
		{"not /sys/class/net/*/rx-*/rps_cpus masks CPU", "3", no}, // one of them does
		{"not /sys/class/net/*/rx-0/rps_cpus masks CPU", "3", yes},
		{"not /sys/class/net/*/rx-7/rps_cpus masks CPU", "3", unclear}, // no such file
		{"/sys/machinecheck/machinecheck*/ce = 1", "", no},
		{"/sys/machinecheck/machinecheck0/ce = 1", "", yes},
		{"exists /sys/kernel/debug/sched/fair/cpu0/run", "", yes},
		{"/sys/kernel/debug/sched/debug shows sched_clock_stable():0", "", yes},
		{"/sys/kernel/debug/sched/debug shows sched_clock_stable():1", "", no},
		{"/sys/kernel/debug/sched/fair/cpu0/run = 0", "", unclear},
	} {
		c, err := parseCheck(tc.text)
		if err != nil {
			t.Errorf("%s: %v", tc.text, err)
			continue
		}
		if got := c.holds(m, cpus(t, tc.cpus)); got != tc.want {
			t.Errorf("%s for CPU %q: got %d, want %d", tc.text, tc.cpus, got, tc.want)
		}
	}
}

func TestConditionErrors(t *testing.T) {
	for _, text := range []string{"", "not", "exists", "exists a b", "exists proc/x", "/proc/x", "/proc/x = ", "/proc/x <= many",
		"/proc/x lists 3", "/proc/x masks CPUs", "/proc/x == 3", "boot", "boot a b", "proc/x = 1"} {
		if c, err := parseCheck(text); err == nil {
			t.Errorf("%q: got %+v, want an error", text, c)
		}
	}
}

func TestRemedyState(t *testing.T) {
	m := machine()
	for _, tc := range []struct {
		needs, set []string
		want       State
	}{
		{nil, nil, Applies},
		{[]string{"exists /proc/cmdline"}, nil, Applies},
		{[]string{"exists /proc/cmdline", "exists /proc/nothing"}, nil, Impossible},
		{[]string{"exists /proc/nothing", "exists /proc/cmdline"}, nil, Impossible},
		{nil, []string{"boot nosoftlockup"}, Asked},
		{nil, []string{"boot nosoftlockup", "/proc/sys/kernel/nmi_watchdog = 0"}, Asked},
		{nil, []string{"/proc/sys/kernel/nmi_watchdog = 0"}, AlreadySet},
		{nil, []string{"boot nosoftlockup", "boot nosmt"}, Applies},
		{[]string{"exists /proc/nothing"}, []string{"boot nosoftlockup"}, Asked},
		{nil, []string{"/sys/kernel/debug/sched/fair/cpu0/run = 0"}, Unknown},
		{[]string{"/sys/kernel/debug/sched/fair/cpu0/run = 0"}, nil, Unknown},
		{[]string{"exists /proc/nothing"}, []string{"/sys/kernel/debug/sched/fair/cpu0/run = 0"}, Impossible},
		{nil, []string{"/sys/devices/system/cpu/nohz_full lists CPU"}, AlreadySet},
	} {
		r := Remedy{Kind: remedy.Boot, Do: "x", Needs: tc.needs, Set: tc.set}
		if err := r.prepare(); err != nil {
			t.Fatal(err)
		}
		if got := r.State(m, cpus(t, "3")); got != tc.want {
			t.Errorf("needs %q, set %q: got %s, want %s", tc.needs, tc.set, got, tc.want)
		}
	}
}

// What an impossible remedy may lack is worded from its needs as they were parsed.
func TestObstacles(t *testing.T) {
	for _, tc := range []struct {
		needs []string
		want  string
	}{
		{nil, ""},
		{[]string{"exists /proc/nothing"}, "there is no /proc/nothing"},
		{[]string{"not exists /sys/a*"}, "there is /sys/a*"},
		{[]string{"boot isolcpus=nohz*"}, "the kernel was not booted with isolcpus=nohz*"},
		{[]string{"not boot nosmt"}, "the kernel was booted with nosmt"},
		{[]string{"/proc/a = 1", "exists /proc/b"}, "it takes /proc/a = 1, or there is no /proc/b"},
	} {
		r := Remedy{Kind: remedy.Boot, Do: "x", Needs: tc.needs}
		if err := r.prepare(); err != nil {
			t.Fatal(err)
		}
		if got := r.Obstacles(); got != tc.want {
			t.Errorf("needs %q: got %q, want %q", tc.needs, got, tc.want)
		}
	}
}

// Nothing is done already because of the command line, whatever stands there.
func TestCommandLineProvesNothing(t *testing.T) {
	line := "tsc=unstable"
	for _, row := range load(t).Rows() {
		for _, r := range row.Remedies {
			for _, c := range r.set {
				if c.operator == "boot" {
					line += " " + strings.TrimSuffix(c.value, "*")
				}
			}
		}
	}
	m := NewMachine(fstest.MapFS{
		"proc/cmdline":                 &fstest.MapFile{Data: []byte(line + " tsc=reliable tsc=nowatchdog nosoftlockup mce=no_cmci")},
		"proc/pressure/cpu":            &fstest.MapFile{},
		"sys/kernel/debug/sched/debug": &fstest.MapFile{Data: []byte("sched_clock_stable()                    : 0\n")},
	})
	for _, row := range load(t).Rows() {
		for _, r := range row.Remedies {
			if state := r.State(m, cpus(t, "3")); state == AlreadySet {
				t.Errorf("%s: %q is %s on a machine that has nothing but a command line", row.ID, r.Do, state)
			}
		}
	}
}

func TestRemedyIsTheFirstThatApplies(t *testing.T) {
	c := load(t)
	m := NewMachine(fstest.MapFS{
		"proc/cmdline":                     &fstest.MapFile{Data: []byte("quiet\n")},
		"sys/devices/system/cpu/nohz_full": &fstest.MapFile{Data: []byte("2\n")},
	})
	if got, ok := c.Remedy("timer-rt-throttling", machine(), cpus(t, "3")); ok {
		t.Errorf("no such sysctl: got %+v", got)
	}
	secret := NewMachine(guarded{fstest.MapFS{"proc/sys/kernel/nmi_watchdog": {Data: []byte("1")}, "proc/cmdline": {Data: []byte("nmi_watchdog=0")}}, "proc/sys/kernel/nmi_watchdog"})
	if got, ok := c.Remedy("nmi-perf", secret, cpus(t, "3")); !ok || got.Kind != remedy.Program {
		t.Errorf("one that applies goes before one that cannot be judged: got %+v, %v", got, ok)
	}
	unreadable := NewMachine(guarded{fstest.MapFS{"proc/sys/kernel/sched_rt_runtime_us": {Data: []byte("1")}}, "proc/sys/kernel/sched_rt_runtime_us"})
	if got, ok := c.Remedy("timer-rt-throttling", unreadable, cpus(t, "3")); !ok || got.Kind != remedy.Runtime {
		t.Errorf("one that cannot be judged is better than none: got %+v, %v", got, ok)
	}
	for _, tc := range []struct{ id, cpus, want string }{
		{"tick", "3", "nohz_full=CPULIST"},
		{"tick", "2", ""}, // already set, and the kernel has it
		{"work-split-lock", "3", "align what atomic instructions use so that it does not cross a cache line"}, // no such sysctl here
		{"no-such-cause", "3", ""},
	} {
		got, ok := c.Remedy(tc.id, m, cpus(t, tc.cpus))
		if got.Do != tc.want || ok != (tc.want != "") {
			t.Errorf("%s on CPU %s: got %q, %v, want %q", tc.id, tc.cpus, got.Do, ok, tc.want)
		}
	}
}
