// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/taskiso/taskiso/cpulist"
)

// When says when something that interrupts can be ended.
type When string

// Answers to when.
const (
	Now    When = "now"     // by making a partition
	Reboot When = "reboot"  // only by words on the kernel's command line
	Never  When = "never"   // by nothing that this kernel has
	Maybe  When = "unknown" // it could not be read whether there is anything to end
)

// Hazard is one thing that will interrupt CPUs that are to be isolated.
type Hazard struct {
	Name   string `json:"name"` // of the setting, or the parameter of the kernel
	What   string `json:"what"`
	Rate   string `json:"rate"` // expected on one CPU
	When   When   `json:"when"`
	Remedy string `json:"remedy"`

	perHour float64 // what Rate comes to, as far as that can be said: for the order
}

// Grade is what will interrupt CPUs of a machine as it is, the most frequent first.
type Grade struct {
	Schema  int         `json:"schema"`
	CPUs    cpulist.Set `json:"cpus"`
	Hazards []Hazard    `json:"hazards"`
}

// NewGrade grades the machine with these files for a spec. It is as pure as [New].
func NewGrade(spec Spec, files fs.FS) (*Grade, error) {
	spec.Require = nil
	plan, err := New(spec, files)
	if err != nil {
		return nil, err
	}
	boot, err := NewBoot(spec, files)
	if err != nil {
		return nil, err
	}
	g := &Grade{Schema: 1, CPUs: plan.CPUs, Hazards: []Hazard{}}
	for _, s := range plan.Settings {
		if s.Name == tasksSetting && plan.kind() != None {
			continue // the cpuset ends it
		}
		g.addSetting(s)
	}
	for _, w := range boot.Words {
		g.addWord(w)
	}
	slices.SortStableFunc(g.Hazards, func(a, b Hazard) int { return cmp.Compare(b.perHour, a.perHour) })
	return g, nil
}

func (g *Grade) addSetting(s Setting) {
	rate := settingRates[s.Name]
	h := Hazard{Name: s.Name, What: s.Why, Rate: rate.text, perHour: rate.perHour}
	switch s.State {
	case Changes:
		h.When, h.Remedy = Now, "taskiso partition create"
	case Unknown:
		h.When, h.Remedy = Maybe, s.Reason
	case Lacking:
		if s.Name != cpusetSetting {
			return // what the machine lacks does not interrupt either
		}
		h.When, h.Remedy = Never, s.Reason
	default:
		return
	}
	g.Hazards = append(g.Hazards, h)
	if s.Name == "irq-affinity" {
		for _, note := range s.Notes { // those that nobody can move
			g.Hazards = append(g.Hazards, Hazard{Name: s.Name, What: "managed and per-CPU interrupts", Rate: rate.text, When: Reboot, Remedy: note, perHour: rate.perHour})
		}
	}
}

func (g *Grade) addWord(w BootWord) {
	if w.State != Changes {
		return
	}
	name, _, _ := strings.Cut(w.Word, "=")
	rate := bootRates[name]
	g.Hazards = append(g.Hazards, Hazard{Name: name, What: rate.what, Rate: rate.text, When: Reboot, Remedy: w.Word, perHour: rate.perHour})
}

// rate is how often something is to be expected on one CPU. Where that depends on
// what else runs, perHour is only a place in the order.
type rate struct {
	perHour float64
	text    string
	what    string // of words for boot, which say only what they give
}

var settingRates = map[string]rate{
	"irq-affinity":    {perHour: 20000, text: "each interrupt of the device"},
	"workqueue":       {perHour: 10000, text: "each unbound work item that is put there"},
	"rps":             {perHour: 9000, text: "each burst of packets"},
	cpusetSetting:     {perHour: 8000, text: "whenever other CPUs are busy"},
	tasksSetting:      {perHour: 8000, text: "whenever other CPUs are busy"},
	"fair-server":     {perHour: 3600, text: "up to one a second (its period)"},
	"rt-throttling":   {perHour: 3600, text: "one a second, for real-time tasks"},
	"stat-interval":   {perHour: 3600, text: "one in each vm.stat_interval, while the CPU counts"},
	"numa-balancing":  {perHour: 3000, text: "bursts of page faults, one a second or less"},
	"cpufreq":         {perHour: 2000, text: "each change of load"},
	"skb-defer":       {perHour: 1000, text: "each burst of packets that it received"},
	"timer-migration": {perHour: 1000, text: "each timer that an idle CPU sets"},
	"ksm":             {perHour: 1000, text: "each scan, for processes with mergeable memory"},
	"watchdog":        {perHour: 900, text: "one in 4 s (2/5 of watchdog_thresh)"},
	"thp":             {perHour: 360, text: "one scan in 10 s (scan_sleep_millisecs)"},
	"workqueues":      {perHour: 100, text: "each work item of such a queue"},
	"mce-polling":     {perHour: 12, text: "one in each check_interval: 5 minutes"},
	"irq-default":     {perHour: 10, text: "each interrupt of a device that comes later"},
	"rps-default":     {perHour: 10, text: "each burst of packets of a device that comes later"},
	"printk":          {perHour: 10, text: "each message for the console"},
	smtSetting:        {perHour: 0, text: "no interrupt: it slows down what runs"},
	"pm-qos":          {perHour: 0, text: "no interrupt: it takes longer to wake up"},
}

var bootRates = map[string]rate{
	"nohz_full":                        {perHour: 900000, text: "100 to 1,000 a second (CONFIG_HZ)", what: "the tick"},
	"isolcpus":                         {perHour: 15000, text: "each interrupt of a managed queue", what: "interrupts whose affinity only the kernel sets"},
	"tsc":                              {perHour: 3600, text: "one in 0.5 s, on each CPU in turn or on all", what: "the clocksource watchdog"},
	"rcutree.nohz_full_patience_delay": {perHour: 60, text: "each grace period that finds the CPU in the kernel", what: "RCU, which wants a quiescent state"},
	"mce":                              {perHour: 12, text: "each corrected error, and one in 5 minutes", what: "polling for corrected machine errors"},
	"irqaffinity":                      {perHour: 5, text: "each interrupt of a device, until a partition is made", what: "interrupts that drivers set up at boot"},
}

// WriteText writes the grade for a reader.
func (g *Grade) WriteText(w io.Writer) error {
	var b bytes.Buffer
	if len(g.Hazards) == 0 {
		fmt.Fprintf(&b, "Nothing that taskiso knows will interrupt CPU %v.\n", g.CPUs)
	} else {
		table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "ENDS\tNAME\tEXPECTED\tWHAT, AND WHAT ENDS IT IF NO PARTITION DOES")
		for _, h := range g.Hazards {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", h.When, h.Name, h.Rate, h.What)
			if h.When != Now {
				fmt.Fprintf(table, "\t\t\t→ %s\n", h.Remedy)
			}
		}
		if err := table.Flush(); err != nil {
			return err
		}
		fmt.Fprintf(&b, "\n%s\n", g.summary())
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (g *Grade) summary() string {
	count := map[When]int{}
	for _, h := range g.Hazards {
		count[h.When]++
	}
	return fmt.Sprintf("%d things will interrupt CPU %v: %d end with \"taskiso partition create\", %d only with a boot, %d not on this kernel; %d are unknown.",
		len(g.Hazards), g.CPUs, count[Now], count[Reboot], count[Never], count[Maybe])
}
