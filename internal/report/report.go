// SPDX-License-Identifier: Apache-2.0

// Package report is what an observation has seen, for people and for programs:
// the types of its JSON (docs/report.schema.json), their reading and writing, the
// verdicts, and the text. Package collect fills it.
package report

import (
	"syscall"
	"time"

	"github.com/taskiso/taskiso/internal/hold/operation"
	"github.com/taskiso/taskiso/internal/topology"
)

// Schema is the version of the JSON report. It is raised when a field changes
// its meaning or goes away; new fields do not raise it.
const Schema = 2

// Report is everything one observation has seen. Times are in nanoseconds.
type Report struct {
	Schema  int       `json:"schema"`
	Version string    `json:"taskiso"`
	Started time.Time `json:"started"`
	// Began is Started in the clock of other tracing tools, CLOCK_MONOTONIC;
	// 0 if nothing was traced.
	Began    time.Duration `json:"began_monotonic_ns"`
	Duration time.Duration `json:"duration_ns"`
	Host     Host          `json:"host"`
	Task     Task          `json:"task"`
	CPUs     []CPU         `json:"cpus"`
	Lost     Lost          `json:"lost"`
	Limits   []string      `json:"limits"`
	// Doubts are the reasons why the number of breaks, or a verdict, is not known.
	Doubts []Doubt `json:"doubts,omitempty"`
	// Elsewhere is where a command ran that was not observed there.
	Elsewhere []Elsewhere `json:"elsewhere,omitempty"`
	Tracing   bool        `json:"tracing"` // false: no kernel entry could be seen
	Usage     *Usage      `json:"usage,omitempty"`
	Loop      []Loop      `json:"loop,omitempty"`
	// Isolation is what became of each thread that asked to be isolated.
	Isolation []Isolation `json:"isolation,omitempty"`
	// Monitors is the verdict of each automaton of --monitor on each CPU.
	Monitors []Monitor `json:"monitors,omitempty"`
	// Partition is what is known of setting the CPUs apart; missing where that was not planned.
	Partition *Partition `json:"partition,omitempty"`
	// Holds are the operations that --hold kept back, or did not, and why.
	Holds []operation.Record `json:"holds,omitempty"`
	// Flight is what became of the flight recorder.
	Flight *Flight `json:"flight,omitempty"`
	// Part is set if the report is of a part of a recording.
	Part *PartOf `json:"part,omitempty"`
}

// Host is where it was observed.
type Host struct {
	topology.Host
	Sources []Source `json:"sources"`
}

// Source is a tracepoint and whether it was active.
type Source struct {
	Name   string `json:"name"`
	Active bool   `json:"active"`
	Shows  string `json:"shows"`
	Reason string `json:"reason,omitempty"` // why it was not active
}

// Task is what was observed.
type Task struct {
	Kind    string   `json:"kind"` // "command", "busy loop", "process", "thread" or "cpus"
	Command []string `json:"command,omitempty"`
	PID     int      `json:"pid,omitempty"`
	TID     int      `json:"tid,omitempty"`
	Threads int      `json:"threads"` // that were seen to run
	// Status is the command's exit status, 128+n for signal n.
	Status *int `json:"status,omitempty"`
	// Left are processes of the command that ran on after it.
	Left []Process `json:"left_behind,omitempty"`
	// EndedBy is why the observation ended: "exit", "duration" or "interrupt".
	EndedBy string `json:"ended_by,omitempty"`
}

// Process is a process by its number and name.
type Process struct {
	PID  int    `json:"pid"`
	Name string `json:"name"`
}

// CPU is what happened to the watched threads on one CPU.
type CPU struct {
	CPU int `json:"cpu"`
	// Complete is true if context tracking reported every kernel entry but
	// NMIs, so that no break can have been missed and durations are exact.
	Complete bool          `json:"complete"`
	User     time.Duration `json:"user_ns"` // time in user mode
	// Kernel is the time that breaks took, and Waited that in which a thread slept in a system
	// call of its own: no time is in two of these three, however many threads there are.
	Kernel time.Duration `json:"kernel_ns"`
	Waited time.Duration `json:"waited_ns"`
	Breaks uint64        `json:"breaks"`
	Lost   uint64        `json:"lost"` // events
	// Preempted counts how often the recording of an event was preempted.
	// Each time an event can have been missed.
	Preempted uint64 `json:"preempted"`
	// Unrecorded counts how often an event showed that a switch between tasks before it was not recorded, although
	// no event was lost. What was in between is not known.
	Unrecorded uint64 `json:"unrecorded"`
	// Verdict is "quiet" if there was no break and nothing is in doubt,
	// "disturbed" if there was one, "unknown" otherwise.
	Verdict string `json:"verdict"`
	// Events is how many events of each tracepoint happened while the CPU was
	// watched, and how many of them were lost.
	Events     []Events    `json:"events,omitempty"`
	Causes     []Cause     `json:"causes"`
	Longest    []Break     `json:"longest"`
	Quiet      Quiet       `json:"quiet"`
	Interrupts *Interrupts `json:"interrupts,omitempty"`
}

// Events counts the events of one tracepoint.
type Events struct {
	Name string `json:"name"`
	Seen uint64 `json:"seen"`
	Lost uint64 `json:"lost"`
}

// Verdicts on a CPU.
const (
	VerdictQuiet     = "quiet"
	VerdictDisturbed = "disturbed"
	VerdictUnknown   = "unknown"
)

// Unnamed is the ID of breaks whose cause nothing showed. Package collect takes it from the catalogue, which a test compares.
const Unnamed = "unnamed"

// Cause is one cause and the breaks it made.
type Cause struct {
	ID     string        `json:"id"`
	Title  string        `json:"title"`
	Detail string        `json:"detail,omitempty"`
	Count  uint64        `json:"count"`
	Total  time.Duration `json:"total_ns"`
	Avg    time.Duration `json:"avg_ns"`
	Max    time.Duration `json:"max_ns"`
	// Squares is the sum, over the seconds of the observation, of the squared number of breaks that began in each: with Count it
	// reports whether they come in clusters.
	Squares uint64 `json:"squares_per_second,omitempty"`
	// Lengths counts the breaks by their duration. Those without any are in none.
	Lengths Lengths `json:"lengths,omitempty"`
	// Waited is how long threads slept in them by their own choice, and is in none of the others.
	Waited time.Duration `json:"waited_ns"`
	// AtLeast is true if durations are lower bounds, and Unmeasured how many
	// breaks have no duration at all.
	AtLeast    bool     `json:"at_least"`
	Unmeasured uint64   `json:"unmeasured"`
	Origins    []Origin `json:"origins,omitempty"`
	// WithoutOrigin counts breaks that came from elsewhere, but nothing showed
	// from whom.
	WithoutOrigin uint64 `json:"without_origin,omitempty"`
	// Remedy is the first one that applies on this machine, if there is any.
	Remedy *Remedy `json:"remedy,omitempty"`
	// Partition is whether "taskiso partition create" ends it: one of the constants Partition, missing if it does not.
	Partition string `json:"partition,omitempty"`
}

// What a partition does about a cause.
const (
	PartitionEnds    = "ends"
	PartitionUnknown = "unknown"
)

// Partition is what is known of setting the observed CPUs apart, from the plan that "taskiso partition plan" shows.
type Partition struct {
	Reason string `json:"reason,omitempty"` // why none would be made
}

// Origin is who caused breaks from elsewhere.
type Origin struct {
	Did    string `json:"did"` // what: one of the constants Did
	PID    uint32 `json:"pid"`
	Name   string `json:"name"`
	CPU    int    `json:"cpu"` // of the latest one
	Cgroup uint64 `json:"cgroup_id,omitempty"`
	// Interrupt is true if the process was only interrupted by what sent.
	Interrupt bool          `json:"interrupt,omitempty"`
	Function  string        `json:"function,omitempty"` // called on the target
	Stack     []string      `json:"stack,omitempty"`    // of the sender, innermost first
	Count     uint64        `json:"count"`
	MaxDelay  time.Duration `json:"max_delay_ns"` // from sending to arrival
}

// IsOthers reports whether an origin stands for those that were too many to be kept apart.
func (o *Origin) IsOthers() bool { return o.Did == "" }

// What an origin did.
const (
	DidCall       = "call"       // had a function called on the CPU
	DidReschedule = "reschedule" // asked the CPU to reschedule
	DidWake       = "wake"       // woke the task that ran instead
	DidQueue      = "queue"      // queued the work that ran instead
	DidMove       = "move-irq"   // moved the interrupt to the CPU
	DidArm        = "arm"        // armed the timer that expired
	DidAffinity   = "affinity"   // let the task that ran instead run on the CPU
	DidCgroup     = "cgroup"     // moved the task that ran instead to another cgroup
)

// Break is one break.
type Break struct {
	At       time.Duration `json:"at_ns"` // since the observation began
	CPU      int           `json:"cpu"`
	TID      uint32        `json:"tid"`
	Duration time.Duration `json:"duration_ns"`
	AtLeast  bool          `json:"at_least"`
	// Waited is how long the thread slept in it by its own choice, which is not in Duration.
	Waited time.Duration `json:"waited_ns,omitempty"`
	// Open is true if it had not ended when the observation did.
	Open   bool          `json:"open,omitempty"`
	Lossy  bool          `json:"lossy,omitempty"` // events were lost about that time
	ID     string        `json:"id"`
	Title  string        `json:"title"`
	Detail string        `json:"detail,omitempty"`
	UserIP string        `json:"user_ip,omitempty"`
	Quiet  time.Duration `json:"quiet_before_ns"` // -1: not known
	// Away is how long other tasks ran in it, and AwayTo the last of them.
	Away    time.Duration `json:"away_ns,omitempty"`
	AwayTo  string        `json:"away_to,omitempty"`
	Inside  []Part        `json:"inside,omitempty"`
	Omitted int           `json:"inside_omitted,omitempty"`
	Origins []Origin      `json:"origins,omitempty"`
}

// Part is one thing that happened inside a break.
type Part struct {
	Event    string        `json:"event"`
	Detail   string        `json:"detail,omitempty"`
	At       time.Duration `json:"at_ns"` // since the break began
	Duration time.Duration `json:"duration_ns,omitempty"`
}

// Quiet are the stretches of user mode between breaks.
type Quiet struct {
	Longest time.Duration `json:"longest_ns"`
	// Histogram has a bucket for each power of ten in which there is any.
	Histogram []Bucket `json:"histogram"`
	// Unknown counts stretches of which, because of lost events, nothing is known.
	Unknown uint64 `json:"unknown"`
}

// Bucket counts stretches from From to below ten times From.
type Bucket struct {
	From  time.Duration `json:"from_ns"`
	Count uint64        `json:"count"`
}

// Interrupts compares what was seen with what the kernel counted itself, while
// the CPU was watched.
type Interrupts struct {
	// Exact is true if no interrupt came while the two were read, at the
	// beginning and at the end; otherwise rows have how many did.
	Exact bool           `json:"exact"`
	Rows  []InterruptRow `json:"rows"`
}

// InterruptRow is one row, or class of rows, of /proc/interrupts.
type InterruptRow struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Kernel      uint64 `json:"kernel"`
	// Seen is missing where the two cannot be compared; Reason is why.
	Seen   *uint64 `json:"seen,omitempty"`
	Reason string  `json:"reason,omitempty"`
	// MayDiffer is by how many the two can differ because interrupts came while they
	// were read.
	MayDiffer uint64 `json:"may_differ_by,omitempty"`
}

// Differ reports whether the two counts differ by more than came while they were read.
func (r *InterruptRow) Differ() bool {
	return r.Seen != nil && max(*r.Seen, r.Kernel)-min(*r.Seen, r.Kernel) > r.MayDiffer
}

// Lost is what was not recorded.
type Lost struct {
	Events uint64 `json:"events"` // no room in a ring buffer
	// Missed were not seen because an event of their kind was just being
	// recorded. They can have been only on CPUs where Preempted is not 0, or on
	// CPUs that were not watched, where they leave a sender unknown.
	Missed uint64 `json:"missed"`
	// Children of watched tasks that could not be watched.
	Children  uint64         `json:"children"`
	Intervals []LostInterval `json:"intervals,omitempty"`
	// OmittedIntervals counts further intervals that are not listed.
	OmittedIntervals int `json:"intervals_omitted,omitempty"`
}

// LostInterval is a time in which events of a CPU were lost.
type LostInterval struct {
	CPU    int           `json:"cpu"`
	From   time.Duration `json:"from_ns"` // since the observation began
	To     time.Duration `json:"to_ns"`
	Events uint64        `json:"events"`
}

// Monitor is the verdict of one automaton on one CPU.
type Monitor struct {
	Monitor string `json:"monitor"` // name, or path of its file
	CPU     int    `json:"cpu"`
	// Verdict is "violated", "satisfied", or "unknown" if violations can have been
	// missed or be mistaken; Reasons are why.
	Verdict    string        `json:"verdict"`
	Reasons    []string      `json:"reasons,omitempty"`
	Events     uint64        `json:"events"` // taken in
	Lost       uint64        `json:"lost"`
	Violations uint64        `json:"violations"`
	First      time.Duration `json:"first_ns,omitempty"` // violation, since the observation began
	By         []Violation   `json:"by,omitempty"`
	// OfUserMode is true if the automaton is about user mode, and nothing if there was none.
	OfUserMode bool `json:"-"`
	// OfThreads is true if it is about threads that were isolated, wherever they run.
	OfThreads bool `json:"-"`
}

// Violation is an event that an automaton does not allow in a state.
type Violation struct {
	State string `json:"state"`
	Event string `json:"event"`
	Count uint64 `json:"count"`
}

// Verdicts of a monitor: those of package automaton.
const (
	MonitorSatisfied = "satisfied"
	MonitorViolated  = "violated"
	MonitorUnknown   = "unknown"
)

// Usage is what the kernel accounts for without any tracing.
type Usage struct {
	Task *TaskUsage `json:"task,omitempty"`
	// Events are counts of perf software events of the task and its children,
	// taken when nothing could be traced.
	Events map[string]uint64 `json:"perf_events,omitempty"`
	// What the observed CPUs did, for whomever, by row of /proc/interrupts
	// and /proc/softirqs. Nil, as is Steal, if a task was followed to whichever CPU it ran on.
	Interrupts map[string]uint64 `json:"interrupts,omitzero"`
	Softirqs   map[string]uint64 `json:"softirqs,omitzero"`
	Steal      *time.Duration    `json:"steal_ns,omitempty"` // taken by the hypervisor
}

// TaskUsage is what a command and the children it waited for used up, or the
// threads of the busy loop while they spun.
type TaskUsage struct {
	User        time.Duration `json:"user_ns"`
	System      time.Duration `json:"system_ns"`
	MinorFaults int64         `json:"minor_faults"`
	MajorFaults int64         `json:"major_faults"`
	Voluntary   int64         `json:"voluntary_switches"`
	Involuntary int64         `json:"involuntary_switches"`
}

// UsageOf returns what getrusage(2) reports.
func UsageOf(ru *syscall.Rusage) TaskUsage {
	return TaskUsage{
		User:        time.Duration(ru.Utime.Nano()),
		System:      time.Duration(ru.Stime.Nano()),
		MinorFaults: ru.Minflt,
		MajorFaults: ru.Majflt,
		Voluntary:   ru.Nvcsw,
		Involuntary: ru.Nivcsw,
	}
}

// Add adds what another has used up.
func (u *TaskUsage) Add(other *TaskUsage) {
	u.User += other.User
	u.System += other.System
	u.MinorFaults += other.MinorFaults
	u.MajorFaults += other.MajorFaults
	u.Voluntary += other.Voluntary
	u.Involuntary += other.Involuntary
}

// Since returns what was used up since an earlier reading, or nil if one of the
// two is missing.
func (u *TaskUsage) Since(earlier *TaskUsage) *TaskUsage {
	if u == nil || earlier == nil {
		return nil
	}
	return &TaskUsage{
		User:        u.User - earlier.User,
		System:      u.System - earlier.System,
		MinorFaults: u.MinorFaults - earlier.MinorFaults,
		MajorFaults: u.MajorFaults - earlier.MajorFaults,
		Voluntary:   u.Voluntary - earlier.Voluntary,
		Involuntary: u.Involuntary - earlier.Involuntary,
	}
}

// Loop is what the built-in busy loop itself saw on one CPU.
type Loop struct {
	CPU       int           `json:"cpu"`
	Ran       time.Duration `json:"ran_ns"`
	Threshold time.Duration `json:"threshold_ns"`
	Gaps      uint64        `json:"gaps"`
	Total     time.Duration `json:"total_ns"`
	Max       time.Duration `json:"max_ns"`
	// YieldsEvery is after how many readings it yields to the emulator, 0 on hardware.
	YieldsEvery uint64 `json:"yields_every_readings,omitempty"`
}
