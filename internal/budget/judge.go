// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/display"
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
			if b.AcceptLowerBound {
				m.bounds = nil
			}
			for _, l := range rule.Limits {
				j := Judgement{Report: name, Rule: rule.Name, CPU: cpu, Figure: l.Figure, Allowed: l.Allowed}
				var open, within []string
				j.Measured, open, within = m.figure(l)
				if l.Figure == Quiet || !b.AcceptLowerBound {
					within = slices.Concat(within, m.incomplete)
				}
				j.judge(open, within)
				all = append(all, j)
			}
		}
	}
	return all
}

// JudgeFiles judges the reports in files.
func (b Budget) JudgeFiles(version string, names []string, read report.Reader) (Result, error) {
	reports, err := report.ReadFiles(names, read)
	if err != nil {
		return Result{}, err
	}
	all := []Judgement{}
	for i, r := range reports {
		all = append(all, b.Judge(names[i], r)...)
	}
	return Sum(version, all), nil
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

// judge compares.
func (j *Judgement) judge(open, within []string) {
	keeps := j.Measured <= j.Allowed
	if j.Figure == Quiet {
		keeps = j.Measured >= j.Allowed
	}
	j.Reasons = open
	if keeps {
		j.Reasons = slices.Concat(open, within)
	}
	switch {
	case len(j.Reasons) > 0:
		j.Verdict = Unknown
	case keeps:
		j.Verdict = Met
	default:
		j.Verdict = Exceeded
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
	lengths    report.Lengths
	bounds     []string // about lengths that are longer than seen
	unmeasured []string // about lengths that are not known at all
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
		m.doubts = append(m.doubts, "the report is of an older form, which does not list doubts")
	}
	for _, d := range of.About(cpu) {
		if d.Reason != report.DoubtUntracked { // that is what incomplete is about
			m.doubts = append(m.doubts, d.Text)
		}
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
	m.lengths.Merge(c.Lengths)
	if c.AtLeast {
		m.bounds = append(m.bounds, c.ID+": its durations are lower bounds")
	}
	if c.Unmeasured > 0 {
		m.unmeasured = append(m.unmeasured, fmt.Sprintf("%s: %d breaks have no duration", c.ID, c.Unmeasured))
	}
}

// addOrigins counts the breaks of one process. Breaks without an origin in the report may be its own.
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

// figure returns the figure that a limit is about, and why it is not known: open whatever the figure is, within only if it keeps to
// the limit, because what was not seen can only have made it worse.
func (m *measured) figure(l Limit) (value float64, open, within []string) {
	if m.duration <= 0 && (l.Figure == PerSecond || l.Figure == Share) {
		return 0, append(slices.Clone(m.doubts), "nothing was observed"), nil
	}
	lengths := slices.Concat(m.doubts, m.bounds, m.unmeasured)
	switch l.Figure {
	case Count:
		return float64(m.breaks), nil, m.doubts
	case PerSecond:
		return float64(m.breaks) / m.duration.Seconds(), nil, m.doubts
	case Longest:
		return float64(m.longest), nil, lengths
	case Share:
		return float64(m.total) / float64(m.duration), nil, lengths
	case Quiet: // breaks that were not seen make it shorter, and a stretch that was not measured may be longer
		return float64(m.quiet), slices.Concat(m.doubts, m.stretches), nil
	}
	return m.percentile(l)
}

// percentile is about lengths of which a report has buckets. Breaks that were not seen, or have no length, can have been long or short.
func (m *measured) percentile(l Limit) (value float64, open, within []string) {
	open = slices.Concat(m.doubts, m.unmeasured)
	from, to, ok := m.lengths.Percentile(percentiles[l.Figure])
	switch {
	case !ok && m.breaks > 0:
		return 0, append(open, "the report does not have the distribution of lengths: it is of an older taskiso"), nil
	case !ok:
		return 0, open, nil
	}
	within = m.bounds
	if float64(to-1) > l.Allowed {
		within = append(slices.Clone(within), fmt.Sprintf("the report has it only as %s to %s", display.Span(from), display.Span(to)))
	}
	return float64(from), open, within
}

// worst orders judgements: those exceeded first, then unknown ones, otherwise as they are.
func worst(a, b Judgement) int {
	rank := map[Verdict]int{Exceeded: 0, Unknown: 1, Met: 2}
	return cmp.Compare(rank[a.Verdict], rank[b.Verdict])
}
