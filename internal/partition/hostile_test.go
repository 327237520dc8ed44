// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/taskiso/taskiso/internal/partition/change"
	"github.com/taskiso/taskiso/internal/printable"
)

// hostile is what somebody may put into a name or a file of a captured machine: commands for the terminal of whoever looks
// at it, and a line that looks like one of taskiso's.
const hostile = "\x1b[2J\u009b31m\x7f\u202e\nset       forged\r"

// checkShown makes sure that nothing of it reaches a terminal as it is.
func checkShown(t *testing.T, where string, texts ...func(io.Writer) error) {
	t.Helper()
	for i, write := range texts {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(b.String()) {
			if line = strings.TrimSuffix(line, "\n"); line != printable.Text(line) || strings.HasPrefix(line, "set       forged") {
				t.Errorf("%s, text %d: %q", where, i, line)
			}
		}
	}
}

// Whatever a file of a captured machine holds is shown escaped.
func TestFilesAreShownEscaped(t *testing.T) {
	for _, name := range []string{"guest-4cpu", "guest-trixie-6.12", "vm-2cpu"} {
		machine := loadTree(t, name)
		for _, path := range slices.Sorted(maps.Keys(machine)) {
			if strings.HasSuffix(path, "/") {
				continue
			}
			was := machine[path]
			for _, text := range []string{hostile, strings.TrimSpace(was.text) + hostile, hostile + was.text, strings.TrimSpace(was.text) + " a\x1b=1 \"nohz_full=3" + hostile} {
				machine[path] = treeFile{text + "\n", was.mode}
				showAll(t, name+", "+path, machine)
			}
			machine[path] = was
		}
	}
}

// Whatever a file, a cgroup or an interrupt of a captured machine is called is shown escaped.
func TestNamesAreShownEscaped(t *testing.T) {
	name := strings.ReplaceAll(hostile, "/", "")
	for _, dir := range []string{"proc/irq/", "sys/class/net/", "sys/fs/cgroup/", "sys/fs/cgroup/a.slice/", "sys/devices/system/cpu/", "sys/devices/system/node/node", "sys/devices/virtual/workqueue/", "sys/block/", "proc/", "run/irqbalance/irqbalance"} {
		machine := loadTree(t, "guest-4cpu")
		for _, file := range []string{"smp_affinity_list", "cpuset.cpus", "cpulist", "cpumask", "queues/rx-0/rps_cpus", "comm", "effective_affinity_list"} {
			machine.add(dir+name+"/"+file, "3")
		}
		machine.add(dir+name+"/cpuset.cpus.partition", "isolated")
		showAll(t, dir, machine)
	}
	machine := loadTree(t, "guest-4cpu")
	machine.add("run/irqbalance/irqbalance"+name+".sock", "")
	showAll(t, "socket", machine)
}

func showAll(t *testing.T, where string, machine tree) {
	t.Helper()
	files := machine.files(t)
	for _, spec := range []Spec{{CPUs: "3"}, {CPUs: "1", Partition: None, Siblings: Offline, Cycle: true}} {
		if plan, _ := New(spec, files); plan != nil {
			checkShown(t, where, plan.WriteText, (&Created{Plan: plan}).WriteText)
		}
		if grade, err := NewGrade(spec, files); err == nil {
			checkShown(t, where, grade.WriteText)
		}
		if boot, err := NewBoot(spec, files); err == nil {
			checkShown(t, where, boot.WriteText)
		}
	}
}

// What a journal holds was once read from a machine.
func TestResultsAreShownEscaped(t *testing.T) {
	for _, kind := range []change.Kind{change.Text{}, change.Choice{}, change.List{}, change.Mask{}, change.Controller{}, change.Partition{}, change.Directory{}, change.Slice{}, change.Cycle{}, change.Affinity{}, change.Schema{}, change.Banned{}} {
		for _, c := range []change.Change{{Path: "/" + hostile, From: hostile, To: "+" + hostile, Kind: kind}, {Path: hostile, To: hostile, Kind: kind}, {Path: hostile, From: hostile, To: hostile, Kind: kind}} {
			if text := fmt.Sprint(c); text != printable.Text(text) {
				t.Errorf("%T: %q", kind, text)
			}
		}
	}
	d := Drift{Path: hostile, Before: hostile, Want: hostile, Got: hostile, Suspect: hostile}
	missed := []Effect{{Setting: hostile, Reason: hostile}, {Setting: hostile, Reason: hostile, Later: true}}
	plan := &Plan{Name: hostile, Profile: hostile, Refused: hostile, Warnings: []string{hostile}, Settings: []Setting{{Name: hostile, State: Unknown, Why: hostile, Reason: hostile, Notes: []string{hostile}}, {Name: hostile, State: Set}, {Name: hostile, State: Changes, Why: hostile}}}
	checkShown(t, "results", plan.WriteText,
		(&Created{Plan: plan, Refused: []Drift{d}, Missed: missed}).WriteText,
		(&Verification{Name: hostile, Drifts: []Drift{d}, Missed: missed}).WriteText,
		(&Record{Summary: Summary{Name: hostile}, Cgroup: hostile, Refused: []string{hostile}}).WriteText,
		func(w io.Writer) error { return WriteList(w, []Summary{{Name: hostile}}) },
		(&Grade{Hazards: []Hazard{{hostile, hostile, hostile, Never, hostile, []string{hostile}, 1}}, Slower: []Hazard{{Name: hostile, What: hostile, Remedy: hostile}}, Warnings: []string{hostile}, making: hostile}).WriteText,
		(&Boot{Warnings: []string{hostile}, Words: []BootWord{{hostile, hostile, Changes, hostile, hostile}}}).WriteText)
}
