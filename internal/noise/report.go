// SPDX-License-Identifier: Apache-2.0

package noise

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/taskiso/taskiso/internal/clock"
	"github.com/taskiso/taskiso/internal/longest"
	"github.com/taskiso/taskiso/internal/topology"
	"github.com/taskiso/taskiso/internal/total"
)

// Schema is the version of the JSON report (docs/noise.schema.json). It is raised
// when a field changes its meaning or goes away; new fields do not raise it.
const Schema = 1

// Report is what loops have seen, and a tracer of them. Times are in nanoseconds.
type Report struct {
	Schema   int           `json:"schema"`
	Version  string        `json:"taskiso"`
	Started  time.Time     `json:"started"`
	Began    time.Duration `json:"began_monotonic_ns"` // Started in CLOCK_MONOTONIC
	Duration time.Duration `json:"duration_ns"`
	EndedBy  string        `json:"ended_by"` // "duration", "interrupt", "trace-limit", "moved", "clock", "exit", or "unended" if the recording has no end
	Host     topology.Host `json:"host"`
	Loop     Settings      `json:"loop"`
	Tracing  bool          `json:"tracing"` // false: no gap could be given a cause
	CPUs     []CPU         `json:"cpus"`
	Limits   []string      `json:"limits"`
	// Doubts are the reasons why it is not known whether there were gaps.
	Doubts []Doubt `json:"doubts,omitempty"`
	// Exceeded is the gap that was longer than --trace-limit.
	Exceeded *Exceeded `json:"exceeded,omitempty"`
}

// Doubt is a reason why it is not known whether there were gaps.
type Doubt struct {
	Reason string `json:"reason"`        // one of the constants Doubt
	CPU    *int   `json:"cpu,omitempty"` // that it is about; missing if it is about all
	Text   string `json:"text"`
}

// Kinds of doubts.
const (
	DoubtNotBegun = "not-begun" // it ended within the warm-up
	DoubtUnended  = "unended"   // its recording has no end
)

// Settings are those of the loop.
type Settings struct {
	Counter Counter `json:"counter"`
	// Why is what speaks against the CPU's own counter. If that is what is read, the
	// kernel's clock is made of it all the same.
	Why       string        `json:"why,omitempty"`
	Threshold time.Duration `json:"threshold_ns"`
	// Smallest is the shortest threshold that has a meaning here, and Sample how
	// long a reading takes.
	Smallest time.Duration `json:"smallest_ns"`
	Sample   time.Duration `json:"sample_ns"`
	Priority string        `json:"priority,omitempty"`
	// YieldsEvery is after how many readings the loop yields to the emulator, 0 on hardware.
	YieldsEvery uint64 `json:"yields_every_readings,omitempty"`
}

// CPU is what was seen on one CPU.
type CPU struct {
	CPU       int           `json:"cpu"`
	Ran       time.Duration `json:"ran_ns"` // from the first reading to the last, or from when it was to begin: lateFrom
	Gaps      uint64        `json:"gaps"`
	Total     time.Duration `json:"total_ns"` // of all gaps
	Available float64       `json:"available_percent"`
	Samples   uint64        `json:"samples"`
	// Percentiles are of the lengths of gaps.
	Percentiles []Percentile `json:"percentiles"`
	// Recorded are the gaps in which the tracer saw the kernel entered, Unexplained
	// those in which it did not, and Unknown those for which that is not known,
	// because events were lost, gaps came too fast, or nothing was traced.
	Recorded    Share          `json:"recorded"`
	Unexplained Share          `json:"unexplained"`
	Unknown     Share          `json:"unknown"`
	Causes      []Cause        `json:"causes"`  // of those recorded
	Longest     []ExplainedGap `json:"longest"` // descending
	// Unseen counts stays in the kernel that were shorter than the threshold.
	Unseen uint64        `json:"stays_without_gap"`
	Steal  time.Duration `json:"steal_ns"` // taken by the hypervisor, as it reports, in steps of 10 ms
	// Interrupts compares what the tracer saw with what the kernel counted; nil without a
	// tracer.
	Interrupts *Interrupts `json:"interrupts,omitempty"`
	// SMIs counts system management interrupts from before the loop began until after it
	// ended; nil where they cannot be counted.
	SMIs *uint64 `json:"smis,omitempty"`
	// Beyond counts gaps longer than the histogram's range, Unlisted those that
	// came too fast to be compared with the tracer.
	Beyond    uint64 `json:"beyond_histogram"`
	Unlisted  uint64 `json:"unlisted"`
	Backwards uint64 `json:"counter_went_back"`
	Jumps     uint64 `json:"counter_jumped"`
	// MovedTo is where the loop was in the end, if that is another CPU.
	MovedTo *int `json:"moved_to,omitempty"`
}

// Interrupts are those of which both the kernel and the tracer keep count.
type Interrupts struct {
	Kernel uint64 `json:"kernel"`
	Seen   uint64 `json:"seen"`
	// MayDiffer is by how many the two can differ because interrupts came while they
	// were read.
	MayDiffer uint64 `json:"may_differ_by,omitempty"`
}

// Unseen returns how many the tracer did not see, if more than may have come while the
// counts were read.
func (i *Interrupts) Unseen() uint64 {
	if i == nil || i.Kernel <= i.Seen+i.MayDiffer {
		return 0
	}
	return i.Kernel - i.Seen
}

// Percentile is a length and how many gaps in a hundred are at most so long.
type Percentile struct {
	Percent float64       `json:"percent"`
	Length  time.Duration `json:"length_ns"`
}

// Share is some of the gaps.
type Share struct {
	Count uint64        `json:"count"`
	Total time.Duration `json:"total_ns"`
	Max   time.Duration `json:"max_ns"`
}

func newShare(total.Cause) *Share { return &Share{} }

func (s *Share) add(d time.Duration) {
	s.Count++
	s.Total += d
	s.Max = max(s.Max, d)
}

// Cause is a cause and the gaps it made.
type Cause struct {
	ID     string `json:"id"`
	Title  string `json:"title"`
	Detail string `json:"detail,omitempty"`
	Share
}

// Exceeded is a gap and the CPU it was on.
type Exceeded struct {
	CPU int          `json:"cpu"`
	Gap ExplainedGap `json:"gap"`
}

// percents are the percentiles in a report.
var percents = []float64{50, 90, 99, 99.9, 99.99, 99.999, 99.9999}

// longestGaps is how many are listed.
const longestGaps = 10

// Collector sums up what is seen on one CPU.
type Collector struct {
	record *Record
	joiner *Joiner
	began  time.Duration // CLOCK_MONOTONIC
	ended  time.Duration // when Stop or Died was called
	died   time.Duration // when Died was called
	cpu    CPU
	causes total.ByCause[Share]
	limit  time.Duration
	taken  uint64 // gaps
	sums   State  // of these
	// OnGap, if set, is called with each gap that is taken in. Its time is of CLOCK_MONOTONIC.
	OnGap func(Gap)
	// exceeded is the first gap longer than the limit, as soon as it is seen; its
	// cause comes later.
	exceeded *ExplainedGap
}

// NewCollector returns a collector of what record's loop sees on cpu; record is nil if Gap is given what it saw. Times in the
// result are since began, a time of CLOCK_MONOTONIC. The first gap of limit or
// more is kept, if limit is not 0.
func NewCollector(cpu int, record *Record, began, limit time.Duration) *Collector {
	c := &Collector{record: record, began: began, limit: limit, cpu: CPU{CPU: cpu}, causes: make(total.ByCause[Share])}
	c.joiner = NewJoiner(c.explained)
	return c
}

// Exceeded returns the first gap that reached the limit, or nil. It has its cause
// only after Finish.
func (c *Collector) Exceeded() *Exceeded {
	if c.exceeded == nil {
		return nil
	}
	return &Exceeded{c.cpu.CPU, *c.exceeded}
}

// Poll takes in the gaps since the last call.
func (c *Collector) Poll() {
	c.record.Drain(func(g Gap) {
		if c.OnGap != nil {
			c.OnGap(g)
		}
		c.Gap(g)
	})
}

// Gap takes in a gap, at a time of CLOCK_MONOTONIC.
func (c *Collector) Gap(g Gap) {
	c.taken++
	c.sums.Count, c.sums.Total, c.sums.Max = c.taken, c.sums.Total+g.Length, max(c.sums.Max, g.Length)
	g.At -= c.began
	if c.exceeded == nil && c.limit > 0 && g.Length >= c.limit {
		c.exceeded = &ExplainedGap{At: g.At, Length: g.Length}
	}
	c.joiner.Gap(g)
}

// Stay takes in what the tracer saw.
func (c *Collector) Stay(s Stay) { c.joiner.Stay(s) }

func (c *Collector) explained(g ExplainedGap) {
	c.keepLong(g)
	if c.exceeded != nil && c.exceeded.At == g.At {
		*c.exceeded = g
	}
	if g.Stay == nil {
		c.cpu.Unexplained.add(g.Length)
		return
	}
	c.cpu.Recorded.add(g.Length)
	what := total.Cause{ID: g.Stay.ID, Title: g.Stay.Title, Detail: g.Stay.Detail}
	c.causes.Of(what, newShare).add(g.Length)
}

func (c *Collector) keepLong(g ExplainedGap) {
	c.cpu.Longest = longest.Keep(c.cpu.Longest, g, longestGaps, func(g ExplainedGap) time.Duration { return g.Length })
}

// Stop ends the loop.
func (c *Collector) Stop() {
	c.ended = clock.Now()
	c.record.Stop()
}

// Died takes in that the loop's process has ended, and the loop not by Stop.
func (c *Collector) Died() {
	c.died = clock.Now()
	c.ended = cmp.Or(c.ended, c.died)
}

// cutOff completes the sums of a loop that does not see that it is to end, or that died, and returns how long it has not run
// until now, or until it died, as far as that is known. What is in that gap is not known.
func (c *Collector) cutOff(s *State) time.Duration {
	now, from := cmp.Or(c.died, clock.Now()), c.ended
	if s.Began == 0 { // it had no turn
		s.Began, from = c.began, c.began
	}
	s.Ran, s.CPU = now-s.Began, int64(c.cpu.CPU)
	gap := now - from
	if gap > 0 {
		s.Count, s.Total, s.Max = s.Count+1, s.Total+gap, max(s.Max, gap)
	}
	return gap
}

// Finish returns the result, when nothing more will come. A gap without a stay is unexplained only if the tracer was complete.
func (c *Collector) Finish(end LoopEnd, complete bool) CPU {
	s := &end.State
	c.joiner.Finish(s.Began + s.Ran - c.began)
	cpu := &c.cpu
	cpu.Ran, cpu.Gaps, cpu.Total, cpu.Samples = s.Ran, s.Count, s.Total, s.Samples
	cpu.Beyond, cpu.Backwards, cpu.Jumps = s.Beyond, s.Backwards, s.Jumps
	if s.Ran > 0 {
		cpu.Available = 100 * float64(s.Ran-s.Total) / float64(s.Ran)
	}
	if at := int(s.CPU); at != cpu.CPU {
		cpu.MovedTo = &at
	}
	cpu.Unseen, cpu.Unlisted = c.joiner.Unseen, end.Dropped+end.Taken-min(end.Taken, c.taken)
	cpu.Steal, cpu.SMIs = end.Steal, end.SMIs
	if !complete {
		cpu.Unknown, cpu.Unexplained = cpu.Unexplained, Share{}
	}
	if end.Cut > 0 {
		cpu.Unknown.add(end.Cut)
	}
	cpu.Unknown.Count += cpu.Unlisted
	cpu.Unknown.Total = s.Total - cpu.Recorded.Total - cpu.Unexplained.Total
	cpu.Percentiles = end.Percentiles
	cpu.Causes = []Cause{}
	for what, share := range c.causes {
		cpu.Causes = append(cpu.Causes, Cause{what.ID, what.Title, what.Detail, *share})
	}
	slices.SortFunc(cpu.Causes, func(a, b Cause) int {
		return cmp.Or(cmp.Compare(b.Total, a.Total), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Detail, b.Detail))
	})
	cpu.Longest = append([]ExplainedGap{}, cpu.Longest...) // never null in JSON
	return *cpu
}

// Judge notes in r what is in doubt: a measurement that ended within the warm-up has no result.
func (r *Report) Judge(begun bool, warmUp time.Duration) {
	r.Doubts = nil
	if !begun {
		text := fmt.Sprintf("nothing was measured: it ended within the warm-up of %v", warmUp)
		r.Doubts = append(r.Doubts, Doubt{Reason: DoubtNotBegun, Text: text})
	}
}

// Unended notes in r that it comes from a recording without an end.
func (r *Report) Unended() {
	text := "the recording has no end: what the loops saw after it is not known, and their own sums are not in it"
	r.EndedBy, r.Doubts = DoubtUnended, []Doubt{{Reason: DoubtUnended, Text: text}}
}
