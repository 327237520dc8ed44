// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/report"
)

// Schema is the version of the JSON of a Result: docs/compare.schema.json.
const Schema = 1

// Verdict is on the whole.
type Verdict string

// Verdicts. Something in doubt in one of the reports makes it unknown, whatever differs.
const (
	Worse   Verdict = "worse"  // something interrupts more often, or is new
	Better  Verdict = "better" // something interrupts less often, or is gone, and nothing is worse
	Same    Verdict = "no difference found"
	Unknown Verdict = "unknown"
)

// Change is how one row differs.
type Change string

// Changes. Without a difference found, the interval shows how large one may be all the same.
const (
	Appeared Change = "appeared"
	More     Change = "more often"
	Less     Change = "less often"
	Vanished Change = "vanished"
	NotFound Change = "no difference found"
)

// Result is what a comparison found.
type Result struct {
	Schema  int     `json:"schema"`
	Version string  `json:"taskiso"`
	Verdict Verdict `json:"verdict"`
	// Reasons are why it is unknown, and Limits what the comparison does not see or takes for granted.
	Reasons []string    `json:"reasons,omitempty"`
	Limits  []string    `json:"limits,omitempty"`
	CPUs    cpulist.Set `json:"cpus"`
	Before  Group       `json:"before"`
	After   Group       `json:"after"`
	// Rows has what was compared: those with a difference first. All of them are one family, in which the chance of any
	// difference that is none is 1 in 20.
	Rows []Row `json:"rows"`
	// Moved are causes that interrupt as often as before, but on another CPU or because of another process.
	Moved []Move `json:"moved,omitempty"`
}

// Move is a cause of which a part went from one place to another: to other CPUs, or to processes of another name.
type Move struct {
	Cause  string   `json:"cause"`
	Title  string   `json:"title"`
	Detail string   `json:"detail,omitempty"`
	Of     string   `json:"of"` // "CPU" or "process"
	From   []string `json:"from"`
	To     []string `json:"to"`
}

// Group is the reports of one side.
type Group struct {
	Reports []string      `json:"reports"`
	Time    time.Duration `json:"observed_ns"` // of all reports, on one CPU
	Kernels []string      `json:"kernels"`
	Breaks  Count         `json:"breaks"`
}

// Row is one thing that was compared: a cause on all CPUs, and with CPU or From the part of it on one CPU or by the processes
// of one name.
type Row struct {
	Cause  string  `json:"cause"` // ID
	Title  string  `json:"title"`
	Detail string  `json:"detail,omitempty"`
	CPU    *int    `json:"cpu,omitempty"`
	From   *string `json:"from,omitempty"`
	Before Count   `json:"before"`
	After  Count   `json:"after"`
	// Ratio is that of the rates, after by before, with an interval that has the true one in 95 of 100 cases; Ratio and High
	// are missing if they have no bound, because there was none before.
	Ratio *float64 `json:"ratio,omitempty"`
	Low   float64  `json:"low"`
	High  *float64 `json:"high,omitempty"`
	// Dispersion is by how much more than chance the counts vary between runs or seconds, 1 for chance.
	Dispersion float64 `json:"dispersion"`
	// P is how likely it is that any row differs as much by chance, of all that were compared.
	P      float64 `json:"p"`
	Change Change  `json:"change"`
}

// Count is how often something interrupted.
type Count struct {
	Count   uint64  `json:"count"`
	PerHour float64 `json:"per_hour"`
}

// Run is a report with the name of its file.
type Run struct {
	Name   string
	Report *report.Report
}

// ErrNotComparable means that the reports of the two sides are about different things.
var ErrNotComparable = errors.New("not comparable")

// Compare compares the reports of two sides, of which each has at least one. Its error matches [ErrNotComparable].
func Compare(version string, before, after []Run) (Result, error) {
	cpus, err := sameCPUs(slices.Concat(before, after))
	if err != nil {
		return Result{}, err
	}
	r := Result{Schema: Schema, Version: version, CPUs: cpus, Before: groupOf(before), After: groupOf(after)}
	r.Reasons = append(doubts(slices.Concat(before, after)), unknownVariation(before, after)...)
	r.Limits = limits(before, after)
	r.Rows = compareAll(before, after)
	r.Moved = moves(r.Rows)
	r.Verdict = r.verdict()
	return r, nil
}

// sameCPUs returns the CPUs that all reports are about.
func sameCPUs(runs []Run) (cpulist.Set, error) {
	var all cpulist.Set
	for i, run := range runs {
		var list []int
		for _, c := range run.Report.CPUs {
			list = append(list, c.CPU)
		}
		cpus, err := cpulist.New(list...)
		switch {
		case err != nil || cpus.IsEmpty():
			return all, fmt.Errorf("%w: %s has no CPU that was observed", ErrNotComparable, run.Name)
		case run.Report.Duration <= 0:
			return all, fmt.Errorf("%w: %s ended before anything was observed", ErrNotComparable, run.Name)
		case run.hasAbsurdCount():
			return all, fmt.Errorf("%w: %s has a count of more than %d interruptions, which no observation has", ErrNotComparable, run.Name, uint64(maxCount))
		case i > 0 && !cpus.Equal(all):
			return all, fmt.Errorf("%w: %s is about CPU %v, and %s about CPU %v: give reports of the same CPUs", ErrNotComparable, runs[0].Name, all, run.Name, cpus)
		}
		all = cpus
	}
	return all, nil
}

// maxCount is the largest count up to which floating point has every number. Beyond it the distributions give none.
const maxCount = 1 << 53

func (r *Run) hasAbsurdCount() bool {
	return slices.ContainsFunc(r.Report.CPUs, func(cpu report.CPU) bool {
		return slices.ContainsFunc(cpu.Causes, func(c report.Cause) bool {
			return c.Count > maxCount || slices.ContainsFunc(c.Origins, func(o report.Origin) bool { return o.Count > maxCount })
		})
	})
}

func groupOf(runs []Run) Group {
	g := Group{Kernels: []string{}}
	for _, run := range runs {
		g.Reports = append(g.Reports, run.Name)
		g.Time += run.Report.Duration
		for _, cpu := range run.Report.CPUs {
			g.Breaks.Count += cpu.Breaks
		}
		if !slices.Contains(g.Kernels, run.Report.Host.Kernel) {
			g.Kernels = append(g.Kernels, run.Report.Host.Kernel)
		}
	}
	g.Breaks.PerHour = float64(g.Breaks.Count) / g.Time.Hours()
	return g
}

// doubts are those that leave the number of breaks of a report open. That a CPU without a break may have had one that no
// event showed is none here: what was seen is compared with what was seen in the same way.
func doubts(runs []Run) []string {
	var list []string
	complete := map[int]bool{} // as the first report has each CPU
	for _, c := range runs[0].Report.CPUs {
		complete[c.CPU] = c.Complete
	}
	for _, run := range runs {
		if run.Report.Schema < 2 {
			list = append(list, run.Name+": the report is of an older form, which does not list doubts")
		}
		for _, d := range run.Report.Doubts {
			if d.Reason != report.DoubtUntracked {
				list = append(list, run.Name+": "+d.Text)
			}
		}
		for _, c := range run.Report.CPUs {
			if c.Complete != complete[c.CPU] {
				list = append(list, fmt.Sprintf("%s: CPU %d is nohz_full in some of the reports only: the others do not count entries without an event", run.Name, c.CPU))
			}
		}
	}
	return list
}

// unknownVariation reports that neither several runs nor the seconds of one show how counts vary. Then every difference can be chance.
func unknownVariation(before, after []Run) []string {
	if len(before)+len(after) > 2 {
		return nil
	}
	var list []string
	for _, run := range slices.Concat(before, after) {
		switch {
		case run.Report.Duration < 2*time.Second:
			list = append(list, fmt.Sprintf("%s: one run of %v does not show how counts vary: observe for 2s or longer, or give several reports of each side", run.Name, run.Report.Duration))
		case squaresMissing([]Run{run}):
			list = append(list, run.Name+": one report of an older taskiso does not show how counts vary: give several reports of each side")
		}
	}
	return list
}

// fewRuns is how many on each side are few: with fewer, the variation between runs is known so badly that only large
// differences stand out from it.
const fewRuns = 5

func limits(before, after []Run) []string {
	var list []string
	switch n := min(len(before), len(after)); {
	case len(before)+len(after) == 2:
		list = append(list, "one report on each side: the variation between runs is not known, only that between the seconds of a run; give several reports of each")
	case n < fewRuns:
		list = append(list, fmt.Sprintf("%d and %d reports: the variation between so few runs is known badly, and only large differences are found; give %d or more of each", len(before), len(after), fewRuns))
	}
	if squaresMissing(before) || squaresMissing(after) {
		list = append(list, "reports of an older taskiso do not have the number of interruptions in each second: clusters of them can look like a difference")
	}
	kernels := slices.Concat(groupOf(before).Kernels, groupOf(after).Kernels)
	if slices.Sort(kernels); len(slices.Compact(kernels)) > 1 {
		list = append(list, "kernels differ: what one of them calls by another name, or does not show, looks like something that appeared or vanished")
	}
	if slices.ContainsFunc(before[0].Report.CPUs, func(c report.CPU) bool { return !c.Complete }) {
		list = append(list, "not every CPU is nohz_full: on the others, entries without an event are not counted, before and after")
	}
	return list
}

func squaresMissing(runs []Run) bool {
	for _, run := range runs {
		for _, cpu := range run.Report.CPUs {
			for _, c := range cpu.Causes {
				if c.Count > 0 && c.Squares == 0 {
					return true
				}
			}
		}
	}
	return false
}
