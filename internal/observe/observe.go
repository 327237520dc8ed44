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
	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/monitor"
	"github.com/taskiso/taskiso/internal/record"
	"github.com/taskiso/taskiso/internal/report"
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
	cfg      Config
	tracer   *trace.Tracer
	analysis *analysis
	names    *names
	tape     *record.Writer // nil if nothing is recorded
	end      record.End     // of the recording
	flight   *record.Flight // nil if nothing is kept in memory

	root     uint32 // thread whose exec begins the observation, or 0
	command  bool   // what is observed began with an exec, on the observed CPUs
	warmUp   time.Duration
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
	o := &Observer{cfg: cfg, tracer: tracer, names: names, watched: make(map[uint32]bool)}
	o.analysis = newAnalysis(scene{cfg.Trace.CPUs, cfg.NohzFull, tracer.Sources(), names.symbolsErr}, catalogue, names, cfg.Monitors)
	o.analysis.collector.OnBreak = cfg.OnBreak
	o.analysis.collector.OnIsolationBreak = cfg.OnIsolationBreak
	o.prepareLook()
	return o, nil
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
	o.analysis.until = clock.Now()
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
func (o *Observer) Began() time.Duration { return o.analysis.begin }

// BeginAtExec begins the observation a warmUp after the thread tid executes a
// program.
func (o *Observer) BeginAtExec(tid int, warmUp time.Duration) {
	o.root, o.command, o.warmUp = uint32(tid), true, warmUp
}

func (o *Observer) beginAt(t time.Duration) {
	o.analysis.beginAt(t)
	if o.tape != nil {
		o.tape.Begin(t)
	}
	if o.flight != nil {
		o.flight.Begin(t)
	}
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
	for piece := range record.Pieces(upTo(batch, end), record.MaxEvents) {
		if o.tape != nil {
			o.tape.Batch(piece)
		}
		if o.flight != nil {
			o.flight.Batch(piece)
		}
		o.analysis.add(piece)
	}
	if a := o.analysis; o.ranBefore == nil && a.until >= a.begin {
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

// follow calls back for each beginning and end of isolation, and each thread that ended.
func (o *Observer) follow(batch event.Batch) {
	for _, e := range batch.Events {
		if e.Kind.IsIsolation() && e.Kind != event.Told && o.cfg.OnIsolation != nil {
			o.cfg.OnIsolation(e)
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
			o.beginAt(o.analysis.until + o.warmUp)
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
	a := o.analysis
	p := Progress{Breaks: a.collector.Breaks(), Lost: a.collector.LostEvents()}
	if a.begin != notYet {
		p.Elapsed = clock.Now() - a.begin
	}
	return p
}

// Finish ends the observation and writes what was seen into r.
func (o *Observer) Finish(r *report.Report) error {
	after, err := o.count()
	if err != nil {
		return err
	}
	elsewhere := o.elsewhere()
	end := clock.Now() // stays that go on at this time are recorded, unlike what comes after the recording was stopped
	if err := o.tracer.Stop(); err != nil {
		return err
	}
	if err := o.pollUntil(end); err != nil {
		return err
	}
	ending, err := o.ending(after, elsewhere)
	if err != nil {
		return err
	}
	if o.tape == nil {
		o.analysis.finish(r, &ending, o.cfg.Files)
		return nil
	}
	ending.Files = record.Capture(o.cfg.Files, o.analysis.catalogue.Files())
	o.end = record.End{Ending: ending}
	o.end.OwnLimits[0] = len(r.Limits)
	o.analysis.finish(r, &ending, ending.Files)
	o.end.OwnLimits[1] = len(r.Limits)
	return nil
}

// Close detaches everything.
func (o *Observer) Close() error {
	if o.tape != nil { // it failed before the end: what was recorded until then is kept
		o.tape.Abort()
	}
	if o.userMode != nil {
		return errors.Join(o.userMode.Close(), o.tracer.Close())
	}
	return o.tracer.Close()
}
