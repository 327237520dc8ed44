// SPDX-License-Identifier: Apache-2.0

// Package measure measures noise: it has busy loops run beside an observation, and publishes which gaps they had, with
// what the tracer saw of each.
package measure

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/taskiso/taskiso/internal/clock"
	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/loop"
	"github.com/taskiso/taskiso/internal/noise"
	"github.com/taskiso/taskiso/internal/observe"
	"github.com/taskiso/taskiso/internal/output"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/run"
	"github.com/taskiso/taskiso/internal/task"
	"github.com/taskiso/taskiso/internal/topology"
	"github.com/taskiso/taskiso/internal/trace"
)

// Config is what a measurement has.
type Config struct {
	Observation run.Config // Output.Events and Output.Verbose are not used
	Loop        Wanted
	TraceLimit  time.Duration // length of a gap that ends it; 0 for none

	Histogram, Percentiles, Log, Plot string // files, "" for none
}

// measurement is one run of loops with everything around it.
type measurement struct {
	cfg        Config
	settings   noise.Settings
	files      files
	sheet      *output.Sheet
	shared     *noise.Shared
	observe    *run.Observation
	smis       *noise.SMIs // nil if they cannot be counted
	noSMIs     error       // then
	collectors collectors
	times      map[int]topology.CPUTimes // when it began
	ended      *os.ProcessState          // how the loops' process ended, nil as long as it has not
	report     noise.Report
}

// Run takes the CPUs, measures, and publishes what was measured.
func Run(cfg Config) (task.Verdict, error) {
	target, files := &cfg.Observation.Target, cfg.Observation.Files
	if err := target.Arrange(files, nil); err != nil {
		return task.Verdict{}, err
	}
	settings, err := cfg.Loop.plan(files) // what the loop can see is tried out where taskiso may run
	if err != nil {
		return task.Verdict{}, err
	}
	release, err := target.Claim(files, cfg.Observation.Warnings())
	if err != nil {
		return task.Verdict{}, err
	}
	defer release()
	return measure(cfg, settings)
}

func measure(cfg Config, settings noise.Settings) (task.Verdict, error) {
	m := &measurement{cfg: cfg, settings: settings, collectors: make(collectors)}
	cpus, print := cfg.Observation.Target.CPUs, cfg.Observation.Output
	var err error
	if m.files, err = createFiles(&cfg); err != nil {
		return task.Verdict{}, err
	}
	defer m.files.discard()
	console := cfg.Observation.Console
	if m.sheet, err = console.OpenSheet(print.Text, console.Stdout, os.Stdout, !print.Quiet && !print.JSON); err != nil {
		return task.Verdict{}, err
	}
	defer m.sheet.Discard()
	if m.shared, err = noise.NewShared(cpus.Len()); err != nil {
		return task.Verdict{}, err
	}
	defer m.shared.Close()
	m.observe = run.Observe(cfg.Observation, trace.Config{CPUs: cpus, Follow: trace.FollowProcesses}, func(b report.Break) { m.collectors.stay(b) })
	defer m.observe.Close()
	if m.smis, m.noSMIs = noise.OpenSMIs(cfg.Observation.Files, cpus); m.smis != nil {
		defer m.smis.Close()
	}
	m.begin()
	return m.run()
}

func (m *measurement) begin() {
	m.report = noise.Report{
		Schema:  noise.Schema,
		Version: m.cfg.Observation.Version,
		Host:    m.observe.Report.Host.Host,
		Loop:    m.settings,
		Tracing: m.observe.Sees(),
		Limits:  []string{},
	}
	if m.files.record != nil {
		m.observe.RecordNoise(m.files.record, &noise.Start{Report: m.report, Limit: m.cfg.TraceLimit})
	}
}

// run has the loops run and publishes what they saw.
func (m *measurement) run() (task.Verdict, error) {
	t, err := run.StartLoop(m.cfg.Observation.Target, loop.Config{
		CPUs:      m.cfg.Observation.Target.CPUs,
		Counter:   m.settings.Counter,
		Threshold: m.settings.Threshold,
		Priority:  m.cfg.Loop.Priority,
		Yields:    m.settings.YieldsEvery > 0,
	}, m.shared)
	if err != nil {
		return task.Verdict{}, err
	}
	o := m.observe
	o.ShowProgress(true)
	if err := o.Release(&t); err != nil {
		t.Process.Kill()
		return task.Verdict{}, err
	}
	exited := task.Exited(t.Process)
	err = m.follow(exited)
	late := err == nil && m.stop(exited)
	if err == nil {
		err = o.Finish()
	}
	switch {
	case m.ended != nil:
	case late:
		t.Process.End()
		m.ended = <-exited
	default:
		m.ended = task.End(t.Process, exited, o.Signals)
	}
	if err != nil {
		return task.Verdict{}, err
	}
	if err := m.publish(); err != nil {
		return task.Verdict{}, err
	}
	return m.verdict(), nil
}

// follow lets the loops note gaps until something ends the measurement, or their process.
func (m *measurement) follow(exited <-chan *os.ProcessState) error {
	cfg := &m.cfg.Observation
	began := clock.Now() + cfg.WarmUp
	if m.observe.Sees() {
		began = m.observe.Began()
	}
	m.report.Started, m.report.Began = m.observe.Report.Started, began
	for i, cpu := range cfg.Target.CPUs.Slice() {
		m.collectors[cpu] = noise.NewCollector(cpu, m.shared.Records[i], began, m.cfg.TraceLimit)
		m.collectors[cpu].OnGap = func(g noise.Gap) { m.observe.LoopGap(cpu, g) }
	}
	w := task.Wait{
		Exited: exited, Signals: m.observe.Signals, Signal: task.Ends,
		WarmUp: began - clock.Now(), Warm: m.beginLoops, Duration: cfg.Duration,
		Interval: observe.PollInterval, Poll: m.poll,
	}
	end, err := w.Until()
	m.report.EndedBy, m.ended = end.By, end.State
	return err
}

// Reasons of this package for the end of a measurement.
const (
	byTraceLimit = "trace-limit"
	byMove       = "moved" // a loop was taken off its CPU
	byClock      = "clock" // a loop has lost its clock
)

func (m *measurement) poll(now time.Time) (reason string, err error) {
	if err := m.observe.Poll(now); err != nil {
		return "", err
	}
	if m.pollLoops() {
		return byTraceLimit, nil
	}
	return m.failed(), nil
}

// beginLoops has gaps noted from now on.
func (m *measurement) beginLoops() error {
	var err error
	if m.times, err = topology.Times(m.cfg.Observation.Files); err != nil {
		return err
	}
	for _, r := range m.shared.Records {
		r.Begin()
	}
	return nil
}

// pollLoops takes in gaps and reports whether one reached --trace-limit.
func (m *measurement) pollLoops() (exceeded bool) {
	for _, c := range m.collectors {
		c.Poll()
		exceeded = exceeded || c.Exceeded() != nil
	}
	return exceeded
}

// failed tells why a loop measures nothing any more, or returns "".
func (m *measurement) failed() string {
	switch {
	case slices.ContainsFunc(m.shared.Records, (*noise.Record).Moved):
		return byMove
	case slices.ContainsFunc(m.shared.Records, (*noise.Record).LostClock):
		return byClock
	case slices.ContainsFunc(m.shared.Records, (*noise.Record).Done):
		return task.ByExit // somebody has ended it
	}
	return ""
}

// stopWithin is how long a loop has to end. It needs a turn on its CPU.
const stopWithin = 5 * time.Second

// stop ends the loops, before the tracer stops: it sees all of their time. late: one does not get its CPU for that.
func (m *measurement) stop(exited <-chan *os.ProcessState) (late bool) {
	if m.ended == nil {
		for _, c := range m.collectors {
			c.Stop()
		}
		m.ended = m.waitDone(exited)
	}
	for i, cpu := range m.cfg.Observation.Target.CPUs.Slice() {
		switch {
		case m.shared.Records[i].Done():
		case m.ended != nil:
			m.report.EndedBy = task.ByExit
			m.collectors[cpu].Died()
		default:
			late = true
			m.limit("the loop on CPU %d did not end within %v after it was stopped, because something else has its CPU: that gap is longer than shown, and what is in it is not known", cpu, stopWithin)
		}
	}
	return late
}

// waitDone returns when all loops have ended, or cannot within stopWithin, or how their process ended.
func (m *measurement) waitDone(exited <-chan *os.ProcessState) *os.ProcessState {
	late, look := time.After(stopWithin), time.NewTicker(time.Millisecond)
	defer look.Stop()
	for {
		select {
		case state := <-exited:
			return state
		case <-late:
			return nil
		case <-look.C:
			if !slices.ContainsFunc(m.shared.Records, func(r *noise.Record) bool { return !r.Done() }) {
				return nil
			}
		}
	}
}

// limit adds one to the report.
func (m *measurement) limit(format string, args ...any) {
	m.report.Limits = append(m.report.Limits, fmt.Sprintf(format, args...))
}

// publish completes the report and writes it.
func (m *measurement) publish() error {
	end, err := m.end()
	if err != nil {
		return err
	}
	m.report = *m.collectors.conclude(end, &m.observe.Report)
	r := &m.report
	end.Report = m.report
	err = m.files.publish(r, m.shared.Records)
	if m.cfg.Observation.Output.JSON {
		err = errors.Join(err, display.Report(m.cfg.Observation.Console.Stdout, r))
	}
	text := func(w io.Writer, _ bool) error { return noise.WriteText(w, r) }
	return errors.Join(m.sheet.Publish(err, text, text), m.observe.EndNoise(end))
}

// end returns what is known of the measurement, beside its gaps and what the tracer saw.
func (m *measurement) end() (*noise.End, error) {
	now, err := topology.Times(m.cfg.Observation.Files)
	if err != nil {
		return nil, err
	}
	end := &noise.End{Before: m.report.Limits}
	for _, cpu := range m.cfg.Observation.Target.CPUs.Slice() {
		loop := m.collectors[cpu].End()
		loop.Steal = now[cpu].Sub(m.times[cpu]).Steal
		if loop.SMIs, err = m.countSMIs(cpu); err != nil {
			return nil, err
		}
		end.Loops = append(end.Loops, loop)
	}
	m.report.Limits = nil
	m.addLimits()
	end.After = m.report.Limits
	m.report.Judge(m.times != nil, m.cfg.Observation.WarmUp)
	end.Report = m.report
	return end, nil
}

func (m *measurement) countSMIs(cpu int) (*uint64, error) {
	if m.smis == nil {
		return nil, nil
	}
	n, err := m.smis.Read(cpu)
	return &n, err
}

func (m *measurement) addLimits() {
	if m.report.EndedBy == task.ByExit {
		m.limit("the busy loop was ended (%v): a gap that it was in then, and its readings since the gap before, are not counted", m.ended)
	}
	if m.report.Loop.YieldsEvery > 0 {
		m.limit("%s", noise.YieldLimit())
	}
	if m.smis == nil {
		m.limit("SMIs are not counted, so an unexplained gap may be one: %v", m.noSMIs)
	}
	const throttle = "proc/sys/kernel/sched_rt_runtime_us"
	runtime, err := fs.ReadFile(m.cfg.Observation.Files, throttle)
	if limit := strings.TrimSpace(string(runtime)); m.cfg.Loop.Priority.Realtime() && err == nil && limit != "-1" {
		m.limit("the kernel lets real-time threads run for at most %s us of each period (/%s), and takes the CPU away from the loop for the rest", limit, throttle)
	}
}
