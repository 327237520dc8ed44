// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/report"
)

// Schema is the version of the JSON of a Result: docs/budget.schema.json.
const Schema = 1

// Verdict is on one limit, or on all of them.
type Verdict string

// Verdicts. A limit is exceeded if the figure is beyond it whatever else may have happened unseen. It is met only if nothing in
// the report leaves the figure in doubt.
const (
	Met      Verdict = "met"
	Exceeded Verdict = "exceeded"
	Unknown  Verdict = "unknown"
)

// Result is what became of a budget.
type Result struct {
	Schema     int         `json:"schema"`
	Version    string      `json:"taskiso"`
	Verdict    Verdict     `json:"verdict"` // the worst of those below: exceeded, then unknown
	Judgements []Judgement `json:"judgements"`
}

// Judgement is on one limit, on one CPU of one report. Longest and Quiet are in nanoseconds.
type Judgement struct {
	Report   string   `json:"report,omitempty"` // its file, if it came from one
	Rule     string   `json:"rule"`
	CPU      int      `json:"cpu"`
	Figure   Figure   `json:"figure"`
	Allowed  float64  `json:"allowed"`
	Measured float64  `json:"measured"`
	Verdict  Verdict  `json:"verdict"`
	Reasons  []string `json:"reasons,omitempty"` // why it is unknown
}

// Judge judges a report by all rules. name is that of its file, if it came from one.
func (b Budget) Judge(name string, r *report.Report) []Judgement {
	var all []Judgement
	for _, rule := range b.Rules {
		for _, cpu := range rule.cpusOf(r) {
			m := rule.measure(r, cpu)
			for _, l := range rule.Limits {
				j := Judgement{Report: name, Rule: rule.Name, CPU: cpu, Figure: l.Figure, Allowed: l.Allowed}
				j.Measured, j.Reasons = m.figure(l.Figure)
				j.judge(m.incomplete)
				all = append(all, j)
			}
		}
	}
	return all
}

// Sum is the result of several reports. No judgement at all is not known to be met.
func Sum(version string, all []Judgement) Result {
	r := Result{Schema, version, Met, all}
	is := func(v Verdict) bool {
		return slices.ContainsFunc(all, func(j Judgement) bool { return j.Verdict == v })
	}
	switch {
	case is(Exceeded):
		r.Verdict = Exceeded
	case is(Unknown) || len(all) == 0:
		r.Verdict = Unknown
	}
	return r
}

// judge compares. Whatever was not seen can only have been more breaks, longer ones, and a shorter time without them. incomplete is
// why there may be breaks that nothing reported: with none seen, or over a quiet stretch, that is a doubt.
func (j *Judgement) judge(incomplete []string) {
	within := j.Measured <= j.Allowed
	if j.Figure == Quiet {
		within = j.Measured >= j.Allowed
	}
	if within && (j.Figure == Quiet || j.Measured == 0) {
		j.Reasons = slices.Concat(j.Reasons, incomplete)
	}
	switch {
	case !within && (j.Figure != Quiet || len(j.Reasons) == 0):
		j.Verdict, j.Reasons = Exceeded, nil
	case len(j.Reasons) > 0:
		j.Verdict = Unknown
	case within:
		j.Verdict = Met
	}
}

// cpusOf are the CPUs on which a rule is judged: those observed that it names, or all, and the first that it names in vain.
func (r *Rule) cpusOf(of *report.Report) []int {
	var list []int
	for _, c := range of.CPUs {
		if r.CPUs.IsEmpty() || r.CPUs.Contains(c.CPU) {
			list = append(list, c.CPU)
		}
	}
	if first, ok := r.unobserved(of).First(); ok {
		list = append(list, first)
	}
	return list
}

// unobserved are the CPUs that a rule names in vain.
func (r *Rule) unobserved(of *report.Report) cpulist.Set {
	set := r.CPUs
	for _, c := range of.CPUs {
		if one, err := cpulist.New(c.CPU); err == nil {
			set = set.Minus(one)
		}
	}
	return set
}

// measured is what a report has of one rule on one CPU.
type measured struct {
	duration   time.Duration
	breaks     uint64
	total      time.Duration
	longest    time.Duration
	quiet      time.Duration
	doubts     []string // about every figure
	lengths    []string // about longest and share
	stretches  []string // about quiet
	incomplete []string // breaks may have had no event
}

func (r *Rule) measure(of *report.Report, cpu int) measured {
	m := measured{duration: of.Duration}
	i := slices.IndexFunc(of.CPUs, func(c report.CPU) bool { return c.CPU == cpu })
	if i < 0 {
		m.doubts = []string{fmt.Sprintf("CPU %v was not observed", r.unobserved(of))}
		return m
	}
	if of.Schema < 2 {
		m.doubts = append(m.doubts, "the report is of an older form, which does not tell what is in doubt")
	}
	for _, d := range of.About(cpu) {
		m.doubts = append(m.doubts, d.Text)
	}
	c := &of.CPUs[i]
	if !c.Complete {
		m.incomplete = []string{fmt.Sprintf("CPU %d is not nohz_full: nothing reports every kernel entry there", cpu)}
	}
	m.quiet = c.Quiet.Longest
	if c.Quiet.Unknown > 0 {
		m.stretches = append(m.stretches, fmt.Sprintf("of %d stretches it is not known how long they were", c.Quiet.Unknown))
	}
	for _, cause := range c.Causes {
		switch {
		case r.selects(cause.ID):
			m.add(r, cause)
		case cause.ID == report.Unnamed && len(r.Causes) > 0:
			m.doubts = append(m.doubts, fmt.Sprintf("of %d breaks the cause is not known", cause.Count))
		}
	}
	return m
}

func (m *measured) add(r *Rule, c report.Cause) {
	if r.From != "" {
		m.addOrigins(r, c)
		return
	}
	m.breaks += c.Count
	m.total += c.Total
	m.longest = max(m.longest, c.Max)
	if c.AtLeast {
		m.lengths = append(m.lengths, c.ID+": its durations are lower bounds")
	}
	if c.Unmeasured > 0 {
		m.lengths = append(m.lengths, fmt.Sprintf("%s: %d breaks have no duration", c.ID, c.Unmeasured))
	}
}

// addOrigins counts the breaks of one process. Those of which the report does not tell from whom they came may be its.
func (m *measured) addOrigins(r *Rule, c report.Cause) {
	var known uint64
	for _, o := range c.Origins {
		if o.IsOthers() {
			continue
		}
		known += o.Count
		if r.isFrom(o.Name) {
			m.breaks += o.Count
		}
	}
	if known < c.Count {
		m.doubts = append(m.doubts, fmt.Sprintf("%s: of %d breaks the report has no origin; name causes that have one", c.ID, c.Count-known))
	}
}

// figure returns a figure, and why it may be another.
func (m *measured) figure(f Figure) (float64, []string) {
	if m.duration <= 0 && (f == PerSecond || f == Share) {
		return 0, append(slices.Clone(m.doubts), "nothing was observed")
	}
	lengths := slices.Concat(m.doubts, m.lengths)
	switch f {
	case Count:
		return float64(m.breaks), m.doubts
	case PerSecond:
		return float64(m.breaks) / m.duration.Seconds(), m.doubts
	case Longest:
		return float64(m.longest), lengths
	case Share:
		return float64(m.total) / float64(m.duration), lengths
	}
	return float64(m.quiet), slices.Concat(m.doubts, m.stretches)
}

// worst orders judgements: those exceeded first, then unknown ones, otherwise as they are.
func worst(a, b Judgement) int {
	rank := map[Verdict]int{Exceeded: 0, Unknown: 1, Met: 2}
	return cmp.Compare(rank[a.Verdict], rank[b.Verdict])
}
