// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/printable"
)

// Hazard is one thing that will interrupt CPUs that are to be isolated.
type Hazard struct {
	Name   string `json:"name"` // of the setting, or the parameter of the kernel
	What   string `json:"what"`
	Rate   string `json:"rate"` // expected on one CPU
	When   When   `json:"when"`
	Remedy string `json:"remedy"`
	// Targets are the interrupts, queues or devices that are meant, where there are
	// such.
	Targets []string `json:"targets,omitempty"`

	perHour float64 // the number that Rate amounts to, as far as it is known: for the order
}

// Grade is what will interrupt CPUs of a machine as it is, the most frequent first.
type Grade struct {
	Schema   int         `json:"schema"`
	CPUs     cpulist.Set `json:"cpus"`
	Hazards  []Hazard    `json:"hazards"`
	Slower   []Hazard    `json:"slower"` // what interrupts nothing, but makes things take longer
	Warnings []string    `json:"warnings,omitempty"`

	making   string      // the command that ends what ends now
	balanced cpulist.Set // those of the CPUs that get load from others
}

// NewGrade grades the machine with these files for a spec. It is as pure as [New].
func NewGrade(spec Spec, files fs.FS) (*Grade, error) {
	spec.Require, spec.Siblings = nil, ""
	plan, err := New(spec, files)
	if plan == nil { // not only without something that was asked for
		return nil, err
	}
	making := "taskiso partition create"
	if errors.Is(plan.refusal, ErrOwned) {
		making += " --partition none"
		spec.Partition = None
		if plan, err = New(spec, files); plan == nil {
			return nil, err
		}
	}
	boot, err := NewBoot(spec, files)
	if err != nil {
		return nil, err
	}
	h, err := readHost(spec, files, cpulist.Set{})
	if err != nil {
		return nil, err
	}
	g := &Grade{Schema: 1, CPUs: plan.CPUs, Hazards: []Hazard{}, Slower: []Hazard{}, making: making, balanced: h.cpus.Minus(h.Isolated)}
	g.Warnings = slices.DeleteFunc(plan.Warnings, func(w string) bool { return w == tickWarning(h) })
	var fixed []int // interrupts that nobody can move
	all := knobs()
	for i, s := range plan.Settings { // which are in the order of the list
		if s.Name == tasksSetting && plan.kind() != None {
			continue // the cpuset ends it
		}
		if s.Name == cpusetSetting && g.balanced.IsEmpty() {
			continue // isolated already
		}
		g.addSetting(all[i], s)
		fixed = append(fixed, s.fixed...)
	}
	for _, w := range boot.Words {
		g.addWord(w, fixed)
	}
	g.addClock(h)
	slices.SortStableFunc(g.Hazards, func(a, b Hazard) int { return cmp.Compare(b.perHour, a.perHour) })
	return g, nil
}

func (g *Grade) addSetting(k knob, s Setting) {
	rate := k.rate.read(s.Changes)
	h := Hazard{Name: s.Name, What: s.Why, Rate: rate.text, perHour: rate.perHour}
	if k.targets != nil {
		h.Targets = k.targets(s.Changes)
	}
	if s.Name == tasksSetting && g.balanced.IsEmpty() {
		h.What, h.Rate = "threads whose affinity names these CPUs run there, although no load is balanced", "each time such a thread runs"
	}
	switch s.State {
	case Changes:
		h.When, h.Remedy = Now, g.making
		if s.Short != "" {
			h.When, h.Remedy = Maybe, "in part by "+g.making+": "+s.Short
		}
	case Elsewhere:
		h.When, h.Remedy = There, s.Reason
	case Refused:
		h.When, h.Remedy = There, "not from here, as other settings cannot be written from here"
	case Unknown:
		h.When, h.Remedy = Maybe, s.Reason
	case Lacking:
		h.When, h.Remedy = s.goesOn, s.Reason
		if h.When == "" {
			return // what the machine lacks does not interrupt either
		}
	default:
		return
	}
	if rate.perHour == 0 {
		g.Slower = append(g.Slower, h)
		return
	}
	g.Hazards = append(g.Hazards, h)
}

// addWord adds what a word on the command line would end. Without full dynticks in
// the kernel nothing ends the tick.
func (g *Grade) addWord(w BootWord, fixed []int) {
	name, _, _ := strings.Cut(w.Word, "=")
	rate := bootRates[name]
	h := Hazard{Name: name, What: rate.what, Rate: rate.text, When: Reboot, Remedy: w.Word, perHour: rate.perHour}
	managed := name == "isolcpus" && len(fixed) > 0
	if managed {
		h.Targets = []string{"IRQ " + ranges(fixed)}
	}
	switch {
	case w.State == Changes && w.Reason != "":
		h.Remedy = w.Word + ": " + w.Reason
	case w.State == Changes:
	case w.State == Unknown:
		h.When, h.Remedy = Maybe, w.Reason
	case name == "nohz_full" && w.State == Lacking:
		h.When, h.Remedy = Never, w.Reason
	case managed: // the word is there, and they are still where they are
		h.When, h.Remedy = Never, "the kernel lets nobody move them; give the device fewer queues, or ask for fewer CPUs"
	default:
		return
	}
	g.Hazards = append(g.Hazards, h)
}

// addClock adds the tick where it is stopped and may come back: a clock that became
// unstable after the boot keeps it on all CPUs (TICK_DEP_BIT_CLOCK_UNSTABLE). One that
// was unstable from the beginning does not.
func (g *Grade) addClock(h *host) {
	name, err := h.read(clockDir + "current_clocksource")
	if err != nil || !isClockOfPC(name) || h.cpus.Intersect(h.NohzFull).IsEmpty() || clockStable(h) {
		return
	}
	rate := bootRates["nohz_full"]
	g.Hazards = append(g.Hazards, Hazard{
		Name: "nohz_full", What: "the tick, if the TSC became unstable after the boot (cause tick-clock-unstable): the clocksource is " + name + ", which alone does not prove it",
		Rate: rate.text, perHour: rate.perHour, When: Maybe,
		Remedy: fmt.Sprintf("find out with \"dmesg | grep -i -e tsc -e clocksource\", or see the tick with \"taskiso watch -c %v\"", h.cpus),
	})
}

// clockStable reports whether the scheduler shows its clock as stable; it shows that to
// root only.
func clockStable(h *host) bool {
	text, err := h.read("/sys/kernel/debug/sched/debug")
	if err != nil {
		return false
	}
	for line := range strings.Lines(text) {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "sched_clock_stable()" {
			return strings.TrimSpace(value) == "1"
		}
	}
	return false
}

var bootRates = map[string]rate{
	"nohz_full":                        {perHour: 900000, text: "100 to 1,000 a second (CONFIG_HZ)", what: "the tick"},
	"nohz":                             {perHour: 900000, text: "100 to 1,000 a second (CONFIG_HZ)", what: "the tick, on all CPUs"},
	"isolcpus":                         {perHour: 15000, text: "each interrupt of a managed queue", what: "interrupts whose affinity only the kernel sets"},
	"tsc":                              {perHour: 3600, text: "one in 0.5 s, on each CPU in turn or on all", what: "the clocksource watchdog, unless this kernel trusts the TSC by itself, as those from 5.16 on do on many machines"},
	"psi":                              {perHour: 1800, text: "one in 2 s, for each group with tasks that ran or waited", what: "averages of pressure stall information, where a task of the group was last active"},
	"rcutree.nohz_full_patience_delay": {perHour: 60, text: "each grace period that finds the CPU in the kernel", what: "RCU, which wants a quiescent state"},
	"mce":                              {perHour: 12, text: "each corrected error, and each check_interval", what: "polling for corrected machine errors"},
	"irqaffinity":                      {perHour: 5, text: "each interrupt of a device, until a partition is made", what: "interrupts that drivers set up at boot"},
}

// WriteText writes the grade for a reader.
func (g *Grade) WriteText(w io.Writer) error {
	var b bytes.Buffer
	if len(g.Hazards) == 0 {
		b.WriteString(printable.Line("Nothing that taskiso knows will interrupt CPU %v.", g.CPUs))
	} else {
		if err := writeHazards(&b, g.Hazards); err != nil {
			return err
		}
		b.WriteString("\n" + printable.Line("%s", g.summary()))
	}
	for _, h := range g.Slower {
		b.WriteString(printable.Line("Interrupts nothing, but slows down: %s: %s (%s).", h.Name, h.What, h.Remedy))
	}
	for _, warning := range g.Warnings {
		b.WriteString(printable.Line("Warning: %s.", warning))
	}
	_, err := w.Write(b.Bytes())
	return err
}

func writeHazards(w io.Writer, hazards []Hazard) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ENDS\tNAME\tEXPECTED\tWHAT, AND WHAT ENDS IT IF NO PARTITION DOES")
	for _, h := range hazards {
		fmt.Fprint(table, printable.Row(string(h.When), h.Name, h.Rate, h.What+h.shownTargets()))
		if h.When != Now {
			fmt.Fprint(table, printable.Row("", "", "", "→ "+h.Remedy))
		}
	}
	return table.Flush()
}

// shownTargets is as much of the targets as fits; JSON has them all.
func (h Hazard) shownTargets() string {
	if len(h.Targets) == 0 {
		return ""
	}
	const most = 8
	parts := strings.Split(strings.Join(h.Targets, ","), ",")
	more := ""
	if len(parts) > most {
		more = fmt.Sprintf(", and %d more", len(parts)-most)
		parts = parts[:most]
	}
	return ": " + strings.Join(parts, ",") + more
}

func (g *Grade) summary() string {
	count := map[When]int{}
	for _, h := range g.Hazards {
		count[h.When]++
	}
	elsewhere := ""
	if count[There] > 0 {
		elsewhere = fmt.Sprintf(" %d not from here,", count[There])
	}
	return fmt.Sprintf("%d things will interrupt CPU %v: %d end with %q,%s %d only with a boot, %d not on this kernel; unknown: %d.",
		len(g.Hazards), g.CPUs, count[Now], g.making, elsewhere, count[Reboot], count[Never], count[Maybe])
}
