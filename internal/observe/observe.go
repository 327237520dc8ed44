// SPDX-License-Identifier: Apache-2.0

// Package observe runs one observation: it polls the tracer, has stays built
// and causes named, and compares what was seen with the kernel's own counts.
package observe

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/cause"
	"github.com/taskiso/taskiso/internal/clock"
	"github.com/taskiso/taskiso/internal/collect"
	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/monitor"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/stay"
	"github.com/taskiso/taskiso/internal/trace"
)

// PollInterval is how often the ring buffers are to be drained.
const PollInterval = 10 * time.Millisecond

// gcPercent trades processor time, of which housekeeping CPUs have enough, for
// memory, which taskiso should take little of.
const gcPercent = 40

// Config is what to observe, and how.
type Config struct {
	Trace trace.Config
	// NohzFull are the CPUs on which context tracking is active.
	NohzFull cpulist.Set
	// Files is the root of the file tree.
	Files fs.FS
	// OnBreak, if set, is called with each break.
	OnBreak func(report.Break)
	// OnIsolationBreak, if set, is called with each break that ended the isolation
	// of a thread, at a time of CLOCK_MONOTONIC, and OnEnd with each watched thread that ended, at such a time.
	OnIsolationBreak func(b report.Break, at time.Duration)
	OnEnd            func(tid uint32, at time.Duration)
	// OnIsolation, if set, is called with each beginning and end of isolation.
	OnIsolation func(event.Event)
	// Monitors are run on each of the CPUs in Trace.
	Monitors []*monitor.Monitor
	// Beside are CPUs that are not observed and on which a command starts on purpose.
	Beside cpulist.Set
}

// Observer is a running observation. Its methods are not safe for concurrent use.
type Observer struct {
	cfg       Config
	tracer    *trace.Tracer
	builder   *stay.Builder
	collector *collect.Collector
	catalogue *cause.Catalogue
	checker   *monitor.Checker
	names     *names

	root     uint32 // thread whose exec begins the observation, or 0
	command  bool   // what is observed began with an exec, on the observed CPUs
	warmUp   time.Duration
	begin    time.Duration // CLOCK_MONOTONIC; far in the future until it is known
	until    time.Duration
	baseline counts

	watched     map[uint32]bool // threads given to Watch
	userMode    *trace.UserMode // nil where threads in user mode need not, or cannot, be looked for
	spinningErr error           // why threads that run already could not be looked for

	ranBefore map[int]time.Duration // by CPU that is not observed, how long watched tasks ran there before the beginning
}

// notYet is later than everything: the observation has no beginning yet.
const notYet = time.Duration(math.MaxInt64)

// Open attaches the tracer. Nothing is recorded before Start. See [trace.Open]
// for its errors.
func Open(cfg Config) (*Observer, error) {
	catalogue, err := cause.Load()
	if err != nil {
		return nil, err
	}
	names := newNames(cfg.Files)
	debug.FreeOSMemory() // reading the symbols leaves more garbage than everything else
	debug.SetGCPercent(gcPercent)
	if names.symbols != nil {
		cfg.Trace.Address = names.symbols.Address
	}
	tracer, err := trace.Open(cfg.Trace)
	if err != nil {
		return nil, err
	}
	o := &Observer{cfg: cfg, tracer: tracer, catalogue: catalogue, names: names, begin: notYet, watched: make(map[uint32]bool)}
	o.collector = collect.NewCollector(catalogue, o.names)
	o.collector.OnBreak = cfg.OnBreak
	o.collector.OnIsolationBreak = cfg.OnIsolationBreak
	o.builder = stay.NewBuilder(o.tracked(), o.collector.Stay)
	o.builder.Everywhere = cfg.Trace.CPUs.IsEmpty()
	o.builder.Ended = o.collector.Stretch
	o.builder.Unseen = !o.builder.Everywhere && !tracer.Has(event.Migrate)
	o.checker = monitor.NewChecker(cfg.Monitors, cfg.Trace.CPUs, names, o.blind)
	o.prepareLook()
	return o, nil
}

// tracked returns the CPUs on which the kernel reports both ends of each stay.
func (o *Observer) tracked() cpulist.Set {
	if o.tracer.Has(event.UserExit) && o.tracer.Has(event.UserEnter) {
		return o.cfg.NohzFull
	}
	return cpulist.Set{}
}

// Isolation returns the task side, or nil if the configuration did not ask for it.
func (o *Observer) Isolation() *trace.Isolation { return o.tracer.Isolation() }

// Seen returns how many events of kind k happened on a CPU since Start.
func (o *Observer) Seen(cpu int, k event.Kind) uint64 { return o.tracer.Seen(cpu, k) }

// Watch adds a thread whose own entries are recorded.
func (o *Observer) Watch(tid int) error {
	o.watched[uint32(tid)] = true
	return o.tracer.Watch(tid)
}

// Watched returns the threads that are watched and have not ended.
func (o *Observer) Watched() ([]uint32, error) { return o.tracer.Watched() }

// Unwatch takes back Watch for a thread that has ended.
func (o *Observer) Unwatch(tid int) error {
	delete(o.watched, uint32(tid))
	return o.tracer.Unwatch(tid)
}

// Activity grows whenever a watched thread is seen to run on a CPU.
func (o *Observer) Activity(cpu int) uint64 {
	var n uint64
	for k := range event.Kinds() {
		if !k.IsSend() {
			n += o.tracer.Seen(cpu, k)
		}
	}
	return n
}

// Start begins to record. The observation itself begins with BeginAt or
// BeginAtExec.
func (o *Observer) Start() error {
	if err := o.tracer.Start(); err != nil {
		return err
	}
	o.until = clock.Now()
	var err error
	o.baseline, err = o.count()
	return err
}

// BeginNow begins the observation after warmUp.
func (o *Observer) BeginNow(warmUp time.Duration) {
	o.warmUp = warmUp
	o.lookForSpinning()
	o.beginAt(clock.Now() + warmUp)
}

// Began returns when the observation began or will begin, in CLOCK_MONOTONIC.
func (o *Observer) Began() time.Duration { return o.begin }

// BeginAtExec begins the observation a warmUp after the thread tid executes a
// program.
func (o *Observer) BeginAtExec(tid int, warmUp time.Duration) {
	o.root, o.command, o.warmUp = uint32(tid), true, warmUp
}

func (o *Observer) beginAt(t time.Duration) {
	o.begin = t
	o.collector.Begin(t)
}

// Poll takes in what was recorded since the last call. Call it every
// PollInterval, from a CPU that is not watched.
func (o *Observer) Poll() error {
	return o.pollUntil(notYet)
}

// pollUntil takes in what was recorded, except for events after end.
func (o *Observer) pollUntil(end time.Duration) error {
	batch, err := o.tracer.Read()
	if err != nil {
		return err
	}
	if o.root != 0 {
		o.lookForExec(batch)
	}
	o.follow(batch)
	o.nameItself(batch)
	batch = upTo(batch, end)
	o.builder.Add(batch)
	o.checker.Add(batch, o.begin)
	for cpu, n := range batch.Lost {
		o.collector.Lost(cpu, o.until, batch.Until, n)
	}
	o.until = batch.Until
	if o.ranBefore == nil && o.until >= o.begin {
		o.ranBefore = o.ranOnOthers()
	}
	return nil
}

func upTo(batch event.Batch, end time.Duration) event.Batch {
	n, _ := slices.BinarySearchFunc(batch.Events, end, func(e event.Event, end time.Duration) int {
		if e.Time <= end {
			return -1
		}
		return 1
	})
	batch.Events, batch.Until = batch.Events[:n], min(batch.Until, end)
	return batch
}

// nameItself distinguishes this process from others of the same name, such as the busy loop.
func (o *Observer) nameItself(batch event.Batch) {
	for _, e := range batch.Events {
		if e.Task != nil && int(e.Task.PID) == os.Getpid() {
			e.Task.Name = itself
		}
	}
}

// itself is the name of this process in reports and in what an interrupted task reads.
const itself = "taskiso itself (the observer)"

// follow takes in how isolation of threads began and ended.
func (o *Observer) follow(batch event.Batch) {
	for _, e := range batch.Events {
		if e.Kind.IsIsolation() && e.Kind != event.Told {
			o.collector.Isolation(e)
			if o.cfg.OnIsolation != nil {
				o.cfg.OnIsolation(e)
			}
		}
		if o.cfg.OnEnd == nil {
			continue
		}
		switch before := uint32(e.B); {
		case e.Kind == event.Exit:
			o.cfg.OnEnd(e.TID, e.Time)
		case e.Kind == event.Exec && before != e.Task.TID: // its number ends without an event of its own
			o.cfg.OnEnd(before, e.Time)
		}
	}
}

func (o *Observer) lookForExec(batch event.Batch) {
	for _, e := range batch.Events {
		if e.Kind == event.Exec && (e.Task.TID == o.root || e.B == uint64(o.root)) {
			o.beginAt(e.Time + o.warmUp)
			o.root = 0
			return
		}
	}
	for cpu := range batch.Lost {
		if o.tracer.Lost(cpu, event.Exec) > 0 { // it came some time in this batch
			o.beginAt(o.until + o.warmUp)
			o.root = 0
			return
		}
	}
}

// Progress is the state of an observation that goes on.
type Progress struct {
	Elapsed      time.Duration // negative during the warm-up
	Breaks, Lost uint64
}

// Progress returns how far the observation is.
func (o *Observer) Progress() Progress {
	p := Progress{Breaks: o.collector.Breaks(), Lost: o.collector.LostEvents()}
	if o.begin != notYet {
		p.Elapsed = clock.Now() - o.begin
	}
	return p
}

// Finish ends the recording and writes what was seen into r.
func (o *Observer) Finish(r *report.Report) error {
	after, err := o.count()
	if err != nil {
		return err
	}
	r.Elsewhere = o.elsewhere()
	end := clock.Now() // stays that go on at this time are recorded, unlike what comes after the recording was stopped
	if err := o.tracer.Stop(); err != nil {
		return err
	}
	if err := o.pollUntil(end); err != nil {
		return err
	}
	for _, open := range o.builder.Finish() {
		o.collector.Stretch(open)
	}
	if o.begin == notYet {
		o.begin = o.until // it ended before it began
	}
	r.Tracing, r.Began = true, o.begin
	r.Duration = max(0, o.until-o.begin)
	watched := o.cfg.Trace.CPUs.Slice()
	if len(watched) == 0 {
		watched = o.collector.CPUs()
	}
	for _, cpu := range watched {
		o.collector.Preempted(cpu, o.tracer.Preempted(cpu))
		o.collector.Unrecorded(cpu, o.builder.Unrecorded()[cpu])
	}
	o.collector.Fill(r, o.cfg.Trace.CPUs, o.tracked())
	collect.AddRemedies(r, o.catalogue, cause.NewMachine(o.cfg.Files))
	o.fillEvents(r)
	o.fillInterrupts(r, after)
	o.fillSources(r)
	if err := o.fillLost(r); err != nil {
		return err
	}
	o.fillMonitors(r)
	r.Isolation = o.collector.Isolations(o.until)
	r.Judge(report.Scope{CPUs: o.cfg.Trace.CPUs, WarmUp: o.warmUp})
	return nil
}

func (o *Observer) fillEvents(r *report.Report) {
	for i := range r.CPUs {
		cpu := &r.CPUs[i]
		for k := range event.Kinds() {
			if seen := o.tracer.Seen(cpu.CPU, k); seen > 0 {
				cpu.Events = append(cpu.Events, report.Events{Name: k.String(), Seen: seen, Lost: o.tracer.Lost(cpu.CPU, k)})
			}
		}
	}
}

func (o *Observer) fillSources(r *report.Report) {
	for _, s := range o.tracer.Sources() {
		source := report.Source{Name: s.Name, Active: s.Err == nil, Shows: s.Shows}
		if s.Err != nil {
			source.Reason = s.Err.Error()
		}
		r.Host.Sources = append(r.Host.Sources, source)
	}
	r.Limits = append(r.Limits, o.limits()...)
	for _, e := range r.Elsewhere {
		r.Limits = append(r.Limits, e.String())
	}
}

func (o *Observer) fillLost(r *report.Report) error {
	var err error
	if r.Lost.Missed, err = o.tracer.Missed(); err != nil {
		return err
	}
	if r.Lost.Children, err = o.tracer.UnwatchedChildren(); err != nil {
		return err
	}
	return nil
}

// Close detaches everything.
func (o *Observer) Close() error {
	if o.userMode != nil {
		return errors.Join(o.userMode.Close(), o.tracer.Close())
	}
	return o.tracer.Close()
}
