// SPDX-License-Identifier: Apache-2.0

// Package collect sums up stays in the kernel, and the isolation of threads,
// into the totals of a report.
package collect

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/cause"
	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/longest"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/stay"
	"github.com/taskiso/taskiso/internal/total"
)

const (
	longestBreaks    = 10
	maxLostIntervals = 100
	// maxOrigins bounds how many senders are kept apart for one cause, and
	// maxAllOrigins for all causes together, but for the first few of each. A fleet
	// of short-lived processes would otherwise grow the report without bound.
	maxOrigins    = 64
	fewOrigins    = 4
	maxAllOrigins = 4096
)

// Collector sums up stays. It keeps totals, not the stays themselves, so that
// its size does not grow with time. Its methods are not safe for concurrent use.
type Collector struct {
	catalogue *cause.Catalogue
	names     cause.Names
	cpus      map[int]*cpuTotals
	threads   threadSet
	origins   int // kept apart, for all causes
	lost      report.Lost
	begin     time.Duration // CLOCK_MONOTONIC; stays that began earlier are left out
	partial   time.Duration // the same, if a report is of a part: a thread that was isolated before is isolated since then
	// OnBreak, if set, is called with each break in full.
	OnBreak func(report.Break)
	// OnStay, if set, is called with each break, and the stay that it is.
	OnStay func(*stay.Stay, report.Break)
	// OnUser, if set, is called with each time in user mode that counts.
	OnUser func(stay.Stretch)
	// OnIsolationBreak, if set, is called with each break that ended the
	// isolation of a thread, and the time (CLOCK_MONOTONIC) at which it ended.
	OnIsolationBreak func(b report.Break, at time.Duration)

	isolation map[uint32]*isolationTotals
}

type cpuTotals struct {
	user, kernel, waited time.Duration
	breaks, lost         uint64
	preempted            uint64
	unrecorded           uint64
	causes               total.ByCause[causeTotals]
	longest              []report.Break // descending
	quietLongest         time.Duration
	quietUnknown         uint64
	quiet                map[time.Duration]uint64
}

type causeTotals struct {
	report.Cause
	origins  map[originKey]*report.Origin
	second   time.Duration // of the observation, the latest one
	inSecond uint64        // breaks
}

// originKey distinguishes senders.
type originKey struct {
	kind     event.Kind
	pid      uint32
	name     string
	function uint64
	caller   uint64 // what in the kernel sent it: the outermost frame
}

// notYet is later than everything: the observation has no beginning yet.
const notYet = time.Duration(math.MaxInt64)

// NewCollector returns a collector that leaves out everything until Begin.
func NewCollector(catalogue *cause.Catalogue, names cause.Names) *Collector {
	return &Collector{
		catalogue: catalogue,
		names:     names,
		cpus:      make(map[int]*cpuTotals),
		begin:     notYet,
		isolation: make(map[uint32]*isolationTotals),
	}
}

// Begin lets the observation begin at a time of CLOCK_MONOTONIC: what began
// earlier is left out.
func (c *Collector) Begin(at time.Duration) { c.begin = at }

// BeginPart does the same for a part of a recording: what came earlier only shows what was the case then.
func (c *Collector) BeginPart(at time.Duration) { c.begin, c.partial = at, at }

func (c *Collector) cpu(n int) *cpuTotals {
	t := c.cpus[n]
	if t == nil {
		t = &cpuTotals{causes: make(total.ByCause[causeTotals]), quiet: make(map[time.Duration]uint64)}
		c.cpus[n] = t
	}
	return t
}

// Breaks returns the number of breaks so far, on all CPUs.
func (c *Collector) Breaks() uint64 {
	var n uint64
	for _, t := range c.cpus {
		n += t.breaks
	}
	return n
}

// LostEvents returns the number of lost events so far, on all CPUs.
func (c *Collector) LostEvents() uint64 { return c.lost.Events }

// Stay takes in one stay.
func (c *Collector) Stay(s *stay.Stay) {
	if s.BreaksIsolation() {
		c.isolationBreak(s)
	}
	if s.Start < c.begin {
		return
	}
	if s.IsOwn() {
		c.before(s)
		return
	}
	what := c.catalogue.Of(s, c.names)
	t := c.cpu(s.CPU)
	c.threads.add(s.TID)
	t.breaks++
	for _, share := range s.Shares() {
		on := c.cpu(share.CPU)
		on.kernel += share.Kernel
		on.waited += share.Waited
	}
	c.before(s)
	totals := t.causes.Of(what, newCauseTotals)
	totals.add(s, c.names, &c.origins)
	totals.countSecond((s.Start - c.begin) / time.Second)
	if t.isLong(s.Duration()) {
		t.keepLong(c.describe(s, what))
	}
	if c.OnBreak != nil {
		c.OnBreak(c.describe(s, what))
	}
	if c.OnStay != nil {
		c.OnStay(s, c.describe(s, what))
	}
}

// Stretch takes in a time in user mode that is not followed by a stay.
func (c *Collector) Stretch(s stay.Stretch) {
	if s.Until < c.begin {
		return
	}
	c.threads.add(s.TID)
	c.stretch(s)
}

// before takes in the time in user mode before a stay.
func (c *Collector) before(s *stay.Stay) {
	c.stretch(stay.Stretch{CPU: s.CPU, TID: s.TID, Since: s.Start - s.Quiet, Until: s.Start})
}

// stretch takes in a time in user mode. One that is not known is less than nothing.
func (c *Collector) stretch(s stay.Stretch) {
	t := c.cpu(s.CPU)
	if s.Until < s.Since {
		t.quietUnknown++
		return
	}
	s.Since = max(s.Since, c.begin)
	if c.OnUser != nil {
		c.OnUser(s)
	}
	d := s.Until - s.Since
	t.user += d
	t.quietLongest = max(t.quietLongest, d)
	t.quiet[decade(d)]++
}

// decade returns the power of ten at or below d, and 0 for less than 1 µs.
func decade(d time.Duration) time.Duration {
	if d < time.Microsecond {
		return 0
	}
	p := time.Microsecond
	for d/10 >= p {
		p *= 10
	}
	return p
}

// Lost counts n events of a CPU as lost between two times. If n is 0, those that were counted last time may have been
// lost as late as in this time.
func (c *Collector) Lost(cpu int, from, to time.Duration, n uint64) {
	if to < c.begin {
		return
	}
	if n == 0 {
		c.lostUntil(cpu, to)
		return
	}
	c.cpu(cpu).lost += n
	c.lost.Events += n
	if len(c.lost.Intervals) == maxLostIntervals {
		c.lost.OmittedIntervals++
		return
	}
	c.lost.Intervals = append(c.lost.Intervals, report.LostInterval{
		CPU: cpu, From: max(0, from-c.begin), To: to - c.begin, Events: n,
	})
}

func (c *Collector) lostUntil(cpu int, to time.Duration) {
	for i := len(c.lost.Intervals) - 1; i >= 0; i-- {
		if l := &c.lost.Intervals[i]; l.CPU == cpu {
			l.To = to - c.begin
			return
		}
	}
}

func newCauseTotals(what total.Cause) *causeTotals {
	return &causeTotals{
		Cause:   report.Cause{ID: what.ID, Title: what.Title, Detail: what.Detail},
		origins: make(map[originKey]*report.Origin),
	}
}

// add takes in a stay. origins counts the senders that are kept apart for all causes.
func (t *causeTotals) add(s *stay.Stay, names cause.Names, origins *int) {
	t.Count++
	kernel, waited := s.Cost()
	t.Total += kernel
	t.Waited += waited
	t.Max = max(t.Max, kernel)
	t.AtLeast = t.AtLeast || !s.Exact
	if s.Duration() == 0 {
		t.Unmeasured++
	} else {
		t.Lengths.Add(kernel)
	}
	found := false
	for sent, arrived := range s.Senders() {
		found = true
		t.origin(sent, arrived.Time, names, origins)
	}
	if !found && comesFromElsewhere(s.Entry.Kind) {
		t.WithoutOrigin++
	}
}

// countSecond counts a break in the second in which it began. A break that a longer one delayed counts in the latest.
func (t *causeTotals) countSecond(second time.Duration) {
	if second > t.second {
		t.second, t.inSecond = second, 0
	}
	t.inSecond++
	t.Squares += 2*t.inSecond - 1 // n² less (n-1)²
}

// comesFromElsewhere reports whether an entry of kind k has a sender.
func comesFromElsewhere(k event.Kind) bool {
	switch k {
	case event.RescheduleEnter, event.CallFunctionEnter, event.CallFunctionSingleEnter:
		return true
	}
	return false
}

func (t *causeTotals) origin(from event.Event, arrived time.Duration, names cause.Names, origins *int) {
	key := originKey{kind: from.Kind, pid: from.Sender.PID, name: from.Sender.Name}
	switch from.Kind {
	case event.SendCall, event.SendWork, event.SendHRTimer, event.SendTimer:
		key.function = from.B
	}
	if n := len(from.Sender.Stack); n > 0 {
		key.caller = from.Sender.Stack[n-1]
	}
	o := t.origins[key]
	if o == nil {
		if n := len(t.origins); n >= maxOrigins || n >= fewOrigins && *origins >= maxAllOrigins { // "others" may be one more
			key = originKey{name: "others"}
			if o = t.origins[key]; o == nil {
				o = &report.Origin{Name: key.name}
				t.origins[key] = o
			}
		} else {
			o = newOrigin(from, names)
			t.origins[key] = o
			*origins++
		}
	}
	o.Count++
	o.CPU = from.CPU
	o.MaxDelay = max(o.MaxDelay, arrived-from.Time)
}

func newOrigin(from event.Event, names cause.Names) *report.Origin {
	o := &report.Origin{
		PID:    event.Shown(from.Sender.PID),
		Name:   from.Sender.Name,
		CPU:    from.CPU,
		Cgroup: from.Sender.Cgroup,
	}
	switch from.Kind {
	case event.SendCall:
		o.Did, o.Function = report.DidCall, names.Function(from.B)
	case event.SendReschedule:
		o.Did = report.DidReschedule
	case event.SendWake:
		o.Did = report.DidWake
	case event.SendWork:
		o.Did, o.Function = report.DidQueue, names.Function(from.B)
	case event.SendIRQ:
		o.Did = report.DidMove
	case event.SendHRTimer, event.SendTimer:
		o.Did, o.Function = report.DidArm, names.Function(from.B)
	case event.SendAffinity:
		o.Did = report.DidAffinity
	case event.SendCgroup:
		o.Did = report.DidCgroup
	}
	for _, addr := range from.Sender.Stack {
		function := names.Function(addr)
		o.Stack = append(o.Stack, function)
		o.Interrupt = o.Interrupt || cause.EntersByInterrupt(function)
	}
	// Where symbols are hidden nothing shows what belongs to the observation.
	if i := slices.IndexFunc(o.Stack, func(f string) bool { return !isProbe(f) }); i > 0 {
		o.Stack = o.Stack[i:]
	}
	return o
}

// isProbe reports whether a function at the top of a sender's stack is part of the
// observation: the BPF program, which has no symbol, and what called it.
func isProbe(function string) bool {
	for _, prefix := range []string{"0x", "bpf_", "__bpf_", "__traceiter_"} {
		if strings.HasPrefix(function, prefix) {
			return true
		}
	}
	return false
}

func (t *cpuTotals) isLong(d time.Duration) bool {
	return len(t.longest) < longestBreaks || d > t.longest[len(t.longest)-1].Duration
}

func (t *cpuTotals) keepLong(b report.Break) {
	t.longest = longest.Keep(t.longest, b, longestBreaks, func(b report.Break) time.Duration { return b.Duration })
}

// describe returns a break in full.
func (c *Collector) describe(s *stay.Stay, what cause.Cause) report.Break {
	b := report.Break{
		At:       s.Start - c.begin,
		CPU:      s.CPU,
		TID:      event.Shown(s.TID),
		Duration: s.Duration(),
		Waited:   s.Waited,
		AtLeast:  !s.Exact,
		Open:     s.Open,
		Lossy:    s.Lossy,
		ID:       what.ID,
		Title:    what.Title,
		Detail:   what.Detail,
		Quiet:    max(-1, s.Quiet),
		Omitted:  s.Omitted,
	}
	if s.UserIP != 0 {
		b.UserIP = fmt.Sprintf("%#x", s.UserIP)
	}
	for _, p := range s.Inside {
		b.Inside = append(b.Inside, report.Part{
			Event:    p.Event.Kind.String(),
			Detail:   cause.Describe(p.Event, c.names),
			At:       p.Event.Time - s.Start,
			Duration: p.Duration,
		})
	}
	for sent, arrived := range s.Senders() {
		o := newOrigin(sent, c.names)
		o.Count, o.MaxDelay = 1, arrived.Time-sent.Time
		b.Origins = append(b.Origins, *o)
	}
	b.Away, b.AwayTo = s.Away()
	return b
}

// CPUs returns those of which anything was collected.
func (c *Collector) CPUs() []int { return slices.Sorted(maps.Keys(c.cpus)) }

// Preempted sets how often the recording on a CPU was preempted.
func (c *Collector) Preempted(cpu int, n uint64) { c.cpu(cpu).preempted = n }

// Unrecorded sets how often an event on a CPU showed that a switch before it was not recorded.
func (c *Collector) Unrecorded(cpu int, n uint64) { c.cpu(cpu).unrecorded = n }

// Fill writes what was collected into r, with an entry for each CPU in watched, or if
// that is empty for each on which anything was seen. On those in complete every kernel
// entry but NMIs is reported. [report.Report.Judge] gives the verdicts.
func (c *Collector) Fill(r *report.Report, watched, complete cpulist.Set) {
	r.Lost = c.lost
	r.Task.Threads = c.threads.len()
	r.Limits = append(r.Limits, c.bounds()...)
	for cpu := range watched.All() {
		c.cpu(cpu)
	}
	for _, n := range slices.Sorted(maps.Keys(c.cpus)) {
		if !watched.IsEmpty() && !watched.Contains(n) {
			continue // only events of senders were lost there
		}
		t := c.cpus[n]
		r.CPUs = append(r.CPUs, report.CPU{
			CPU:        n,
			Complete:   complete.Contains(n),
			User:       t.user,
			Kernel:     t.kernel,
			Waited:     t.waited,
			Breaks:     t.breaks,
			Lost:       t.lost,
			Preempted:  t.preempted,
			Unrecorded: t.unrecorded,
			Causes:     t.sortedCauses(),
			Longest:    append([]report.Break{}, t.longest...), // never null in JSON
			Quiet:      t.quietReport(),
		})
	}
}

func (t *cpuTotals) sortedCauses() []report.Cause {
	causes := make([]report.Cause, 0, len(t.causes))
	for _, totals := range t.causes {
		causes = append(causes, totals.sum())
	}
	slices.SortFunc(causes, func(a, b report.Cause) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(b.Total, a.Total), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Detail, b.Detail))
	})
	return causes
}

// sum returns a cause with its origins, the most frequent first.
func (t *causeTotals) sum() report.Cause {
	sum := t.Cause
	sum.Avg = sum.Total / time.Duration(sum.Count)
	sum.Lengths = slices.Clone(t.Lengths)
	for _, o := range t.origins {
		sum.Origins = append(sum.Origins, *o)
	}
	slices.SortFunc(sum.Origins, func(a, b report.Origin) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), compareOrigins(a, b))
	})
	return sum
}

// compareOrigins orders any two that differ, so that the same events give the same report.
func compareOrigins(a, b report.Origin) int {
	return cmp.Or(
		cmp.Compare(a.PID, b.PID), cmp.Compare(a.Function, b.Function), cmp.Compare(a.Did, b.Did), cmp.Compare(a.Name, b.Name),
		slices.Compare(a.Stack, b.Stack), cmp.Compare(a.MaxDelay, b.MaxDelay), cmp.Compare(a.CPU, b.CPU), cmp.Compare(a.Cgroup, b.Cgroup),
	)
}

func (t *cpuTotals) quietReport() report.Quiet {
	q := report.Quiet{Longest: t.quietLongest, Unknown: t.quietUnknown, Histogram: []report.Bucket{}}
	for _, from := range slices.Sorted(maps.Keys(t.quiet)) {
		q.Histogram = append(q.Histogram, report.Bucket{From: from, Count: t.quiet[from]})
	}
	return q
}
