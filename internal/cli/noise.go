// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/taskiso/taskiso/internal/clock"
	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/emulator"
	"github.com/taskiso/taskiso/internal/loop"
	"github.com/taskiso/taskiso/internal/noise"
	"github.com/taskiso/taskiso/internal/observe"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/topology"
	"github.com/taskiso/taskiso/internal/trace"
)

// noiseOptions are the flags of `taskiso noise`.
type noiseOptions struct {
	options
	threshold  duration
	traceLimit duration
	priority   loop.Priority
	histogram  string
	hgrm       string
	hlog       string
	plot       string

	thresholdGiven bool
}

func (p *program) noiseCommand() *cobra.Command {
	opts := noiseOptions{threshold: duration(loop.Threshold)}
	c := &cobra.Command{
		Use:   "noise [flags]",
		Short: "Measure the time that is taken from a busy loop, and name the causes",
		Long: `noise runs a loop on each of CPUS that does nothing but read the CPU's counter,
and records every gap between two readings. Each gap is compared with the events of
the tracer: "recorded" means that the kernel was entered, and names the cause;
"unexplained" means that no kernel entry was seen, so that the gap came from below
the kernel (firmware or a hypervisor), or from an entry that taskiso cannot see.
The report goes to standard output, and everything else to standard error.

Where "taskiso partition create" has set the CPUs apart, the loops run in the
cgroup of that partition, which needs root.

By default the CPU is the last one that is isolated or nohz_full, or else the
last one. It ends after --duration, with a gap of --trace-limit, or on SIGINT or
SIGTERM. Without the privileges to load BPF programs gaps are measured all the
same, and the report states that their causes are unknown.

The exit status is 0; 3 if a gap reached --trace-limit; 2 for a wrong command
line; 125 if taskiso failed, or if a loop lost its CPU or its clock.`,
		Example: `  taskiso noise -d 60s
  taskiso noise -c 2-3 -d 10m -P f:95 --report noise.json --hgrm noise.hgrm
  taskiso noise -c 3 --trace-limit 20us    # stop at the first gap of that length, and show its details`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := opts.complete(c); err != nil {
				return err
			}
			return p.noise(&opts)
		},
	}
	f := c.Flags()
	f.StringVarP(&opts.cpus, "cpus", "c", "", "`CPUS` to measure: 3, 2-3, 1,5-7")
	f.StringVarP(&opts.housekeeping, "house-keeping", "H", "", "`CPUS` for taskiso itself (default: all others)")
	f.VarP(&opts.options.duration, "duration", "d", "end after this `TIME`, counted from the end of the warm-up: 30, 30s, 5m, 2h, 1d")
	f.Var(&opts.warmUp, "warm-up", "leave out what happens in the first `TIME`")
	f.Var(&opts.threshold, "threshold", "shortest gap to note, a `TIME`: 500ns, 1us, 10us")
	f.Var(&opts.traceLimit, "trace-limit", "end with the first gap of this `TIME` or more, and show its details")
	f.VarP(&opts.priority, "priority", "P", "scheduling `PRIORITY` of the loop: f:95 (FIFO), r:10 (round robin), o:-5 (nice)")
	registerOutput(f, &opts.output)
	f.StringVar(&opts.report, "report", "", "write the report as JSON to `FILE`")
	f.StringVar(&opts.histogram, "hist", "", "write the gaps by microsecond, as text, to `FILE`")
	f.StringVar(&opts.hgrm, "hgrm", "", "write percentiles as HdrHistogram's tools plot them to `FILE`")
	f.StringVar(&opts.hlog, "hlog", "", "write histograms in HdrHistogram's log format to `FILE`")
	f.StringVar(&opts.plot, "plot", "", "draw how often gaps came, by length, as SVG in `FILE`")
	f.Var(&opts.buffer, "buffer", "`SIZE` of the buffer for the events of each CPU, a power of two: 64K, 4M")
	f.BoolVarP(&opts.quiet, "quiet", "q", false, "print no report")
	f.BoolVar(&opts.json, "json", false, "print the report as JSON on standard output")
	return c
}

func (o *noiseOptions) complete(c *cobra.Command) error {
	if err := o.options.complete(c); err != nil {
		return err
	}
	o.thresholdGiven = c.Flags().Changed("threshold")
	if o.threshold == 0 {
		return usageError("a threshold of 0 would note every reading")
	}
	if o.plot != "" && filepath.Ext(o.plot) != ".svg" {
		return usageError("--plot %s: only SVG can be drawn, so the name has to end in .svg; rsvg-convert makes a PNG of one", o.plot)
	}
	if c.Flags().Changed("trace-limit") && o.traceLimit == 0 {
		return usageError("a --trace-limit of 0 would end with the first gap; leave it out for none")
	}
	if c.Flags().Changed("trace-limit") && o.traceLimit < o.threshold {
		return usageError("a gap of --trace-limit %v would not be noted: --threshold is %v", &o.traceLimit, &o.threshold)
	}
	return nil
}

// measurement is one run of loops with everything around it.
type measurement struct {
	p          *program
	opts       *noiseOptions
	target     target
	files      noiseFiles
	sheet      *sheet
	shared     *noise.Shared
	observe    *observation
	smis       *noise.SMIs // nil if they cannot be counted
	noSMIs     error       // then
	collectors map[int]*noise.Collector
	times      map[int]topology.CPUTimes // when it began
	report     noise.Report
}

// noise measures, from its plan to its exit status.
func (p *program) noise(opts *noiseOptions) error {
	if err := trace.CheckNumbers(); err != nil {
		return err
	}
	target, err := p.plan(&opts.cpuOptions)
	if err != nil {
		return err
	}
	if err := keepOff(target.cpus, target.housekeeping); err != nil {
		return err
	}
	if err := p.giveRoom(&target, nil); err != nil {
		return err
	}
	settings, err := p.planNoise(opts)
	if err != nil {
		return err
	}
	release, err := p.claim(&target, opts.quiet)
	if err != nil {
		return err
	}
	defer release()
	m := &measurement{p: p, opts: opts, target: target, collectors: make(map[int]*noise.Collector)}
	if m.files, err = createNoiseFiles(opts); err != nil {
		return err
	}
	defer m.files.discard()
	if m.sheet, err = p.openSheet(opts.output, p.stdout, os.Stdout, !opts.quiet && !opts.json); err != nil {
		return err
	}
	defer m.sheet.discard()
	if m.shared, err = noise.NewShared(target.cpus.Len()); err != nil {
		return err
	}
	defer m.shared.Close()
	m.observe = p.observe(&opts.options, target, nil, trace.Config{CPUs: target.cpus, Follow: trace.FollowProcesses}, m.stay)
	defer m.observe.close()
	if m.smis, m.noSMIs = noise.OpenSMIs(p.files.View(), target.cpus); m.smis != nil {
		defer m.smis.Close()
	}
	m.begin(settings)
	return m.run(settings)
}

// planNoise decides what the loop reads, and finds out what it can see.
func (p *program) planNoise(opts *noiseOptions) (noise.Settings, error) {
	counter, why, err := noise.ChooseCounter(p.files.View())
	if err != nil {
		return noise.Settings{}, err
	}
	smallest, sample := noise.Smallest(counter)
	if !opts.thresholdGiven {
		opts.threshold = max(opts.threshold, duration(smallest)) // an emulated CPU is slow
	}
	if time.Duration(opts.threshold) < smallest {
		return noise.Settings{}, usageError("a gap of --threshold %v cannot be distinguished from the loop itself: it takes %v here", &opts.threshold, smallest)
	}
	s := noise.Settings{
		Counter:   counter,
		Why:       why,
		Threshold: time.Duration(opts.threshold),
		Smallest:  smallest,
		Sample:    sample,
		Priority:  opts.priority.String(),
	}
	if counter != noise.Clock && emulator.Found(p.files.View()) {
		s.YieldsEvery = noise.YieldEvery
	}
	return s, nil
}

func (m *measurement) begin(settings noise.Settings) {
	host := m.observe.report.Host
	m.report = noise.Report{
		Schema:  noise.Schema,
		Version: version(),
		Host:    noise.Host{Kernel: host.Kernel, Arch: runtime.GOARCH, Online: host.Online, Isolated: host.Isolated, NohzFull: host.NohzFull},
		Loop:    settings,
		Tracing: m.observe.observer != nil,
		Limits:  []string{},
	}
}

// run has the loops run and publishes what they saw.
func (m *measurement) run(settings noise.Settings) error {
	t, err := startLoop(m.target, loop.Config{
		CPUs:      m.target.cpus,
		Counter:   settings.Counter,
		Threshold: settings.Threshold,
		Priority:  m.opts.priority,
		Yields:    settings.YieldsEvery > 0,
	}, m.shared)
	if err != nil {
		return err
	}
	o := m.observe
	o.progress = m.p.newProgress(&m.opts.options, true)
	if err := o.release(&t); err != nil {
		t.process.Kill()
		return err
	}
	exited := make(chan *os.ProcessState, 1)
	go func() { exited <- t.process.Wait() }()
	lost, err := m.follow(exited)
	if err == nil {
		err = m.stop()
	}
	if err == nil {
		err = o.finish()
	}
	if !lost {
		t.end(exited, o.signals)
	}
	if err != nil {
		return err
	}
	return m.publish()
}

// follow lets the loops note gaps until something ends the measurement. lost: the
// loop's process ended by itself.
func (m *measurement) follow(exited <-chan *os.ProcessState) (lost bool, err error) {
	o := m.observe
	began := clock.Now() + time.Duration(m.opts.warmUp)
	if o.observer != nil {
		began = o.observer.Began()
	}
	m.report.Started, m.report.Began = o.report.Started, began
	for i, cpu := range m.target.cpus.Slice() {
		m.collectors[cpu] = noise.NewCollector(cpu, m.shared.Records[i], began, time.Duration(m.opts.traceLimit))
	}
	warm := time.After(began - clock.Now())
	var expired <-chan time.Time
	tick := time.NewTicker(observe.PollInterval)
	defer tick.Stop()
	for {
		select {
		case state := <-exited:
			return true, fmt.Errorf("the busy loop ended by itself: %v", state)
		case <-warm:
			if err := m.beginLoops(); err != nil {
				return false, err
			}
			if m.opts.options.duration > 0 {
				expired = time.After(time.Duration(m.opts.options.duration))
			}
		case <-expired:
			m.report.EndedBy = "duration"
			return false, nil
		case sig := <-o.signals:
			if o.signalled(sig, nil) {
				m.report.EndedBy = "interrupt"
				return false, nil
			}
		case now := <-tick.C:
			if err := o.poll(now); err != nil {
				return false, err
			}
			if m.pollLoops() {
				m.report.EndedBy = "trace-limit"
				return false, nil
			}
			if m.report.EndedBy = m.failed(); m.report.EndedBy != "" {
				return false, nil
			}
		}
	}
}

// beginLoops has gaps noted from now on.
func (m *measurement) beginLoops() error {
	var err error
	if m.times, err = topology.Times(m.p.files.View()); err != nil {
		return err
	}
	for _, r := range m.shared.Records {
		r.Begin()
	}
	return nil
}

// pollLoops takes in gaps and tells whether one reached --trace-limit.
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
		return "moved" // off its CPU
	case slices.ContainsFunc(m.shared.Records, (*noise.Record).Done):
		return "clock" // it has lost it
	}
	return ""
}

// stopWithin is how long a loop has to end. It needs a turn on its CPU.
const stopWithin = 5 * time.Second

// stop ends the loops, before the tracer stops: it sees all of their time.
func (m *measurement) stop() error {
	for _, r := range m.shared.Records {
		r.Stop()
	}
	deadline := time.Now().Add(stopWithin)
	for i, cpu := range m.target.cpus.Slice() {
		for !m.shared.Records[i].Done() {
			if time.Now().After(deadline) {
				return fmt.Errorf("the loop on CPU %d did not end within %v after it was stopped: something else has its CPU", cpu, stopWithin)
			}
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// stay takes in what the tracer saw.
func (m *measurement) stay(b report.Break) {
	c := m.collectors[b.CPU]
	if c == nil {
		return
	}
	s := noise.Stay{At: b.At, Duration: b.Duration, AtLeast: b.AtLeast, ID: b.ID, Title: b.Title, Detail: b.Detail}
	for _, p := range b.Inside {
		line := fmt.Sprintf("after %s %s", display.Span(p.At), p.Event)
		if p.Detail != "" {
			line += " " + p.Detail
		}
		if p.Duration > 0 {
			line += ", " + display.Span(p.Duration)
		}
		s.Story = append(s.Story, line)
	}
	for _, o := range b.Origins {
		s.Who = append(s.Who, o.String())
	}
	c.Stay(s)
}

// publish completes the report and writes it.
func (m *measurement) publish() error {
	r := &m.report
	r.Limits = append(r.Limits, m.observe.report.Limits...)
	now, err := topology.Times(m.p.files.View())
	if err != nil {
		return err
	}
	for _, cpu := range m.target.cpus.Slice() {
		c := m.collectors[cpu].Finish(m.complete(cpu))
		c.Steal = now[cpu].Sub(m.times[cpu]).Steal
		c.Interrupts = m.countInterrupts(cpu)
		if c.SMIs, err = m.countSMIs(cpu); err != nil {
			return err
		}
		r.Duration = max(r.Duration, c.Ran)
		r.CPUs = append(r.CPUs, c)
		if e := m.collectors[cpu].Exceeded(); e != nil && r.Exceeded == nil {
			r.Exceeded = e
		}
	}
	m.addLimits()
	r.Judge(m.times != nil, time.Duration(m.opts.warmUp))
	err = m.files.publish(r, m.shared.Records)
	if m.opts.json {
		err = errors.Join(err, noise.WriteJSON(m.p.stdout, r))
	}
	if err := m.sheet.publish(err, func(w io.Writer, _ bool) error { return noise.WriteText(w, r) }); err != nil {
		return err
	}
	return m.verdict()
}

// countInterrupts compares the tracer's counts with the kernel's.
func (m *measurement) countInterrupts(cpu int) *noise.Interrupts {
	for _, c := range m.observe.report.CPUs {
		if c.CPU != cpu || c.Interrupts == nil {
			continue
		}
		n := new(noise.Interrupts)
		for _, row := range c.Interrupts.Rows {
			if row.Seen != nil {
				n.Kernel += row.Kernel
				n.Seen += *row.Seen
				n.MayDiffer += row.MayDiffer
			}
		}
		return n
	}
	return nil
}

func (m *measurement) countSMIs(cpu int) (*uint64, error) {
	if m.smis == nil {
		return nil, nil
	}
	n, err := m.smis.Read(cpu)
	return &n, err
}

// verdict returns the exit status.
func (m *measurement) verdict() error {
	r := &m.report
	switch {
	case r.EndedBy == "moved":
		return errors.New("a loop was moved off its CPU, which ended the measurement: the CPU went offline, or somebody set the affinity of the thread")
	case r.EndedBy == "clock":
		return errors.New("reading the clock began to enter the kernel, which ended the measurement: the kernel trusts the CPU's counter no longer (see its log)")
	case len(r.Doubts) > 0:
		return errors.New(r.Doubts[0].Text)
	case r.Exceeded != nil:
		return &status{exitTooManyBreaks, fmt.Errorf("a gap of %s on CPU %d, with a --trace-limit of %v", display.Span(r.Exceeded.Gap.Length), r.Exceeded.CPU, &m.opts.traceLimit)}
	}
	return nil
}

// complete tells whether the tracer can have missed nothing on a CPU.
func (m *measurement) complete(cpu int) bool {
	seen := &m.observe.report
	for _, c := range seen.CPUs {
		if c.CPU == cpu {
			return seen.Tracing && c.Lost == 0 && (c.Preempted == 0 || seen.Lost.Missed == 0)
		}
	}
	return false
}

func (m *measurement) addLimits() {
	add := func(format string, args ...any) {
		m.report.Limits = append(m.report.Limits, fmt.Sprintf(format, args...))
	}
	if m.report.Loop.YieldsEvery > 0 {
		add("%s", noise.YieldLimit())
	}
	if m.smis == nil {
		add("SMIs are not counted, so an unexplained gap may be one: %v", m.noSMIs)
	}
	const throttle = "proc/sys/kernel/sched_rt_runtime_us"
	runtime, err := fs.ReadFile(m.p.files.View(), throttle)
	if limit := strings.TrimSpace(string(runtime)); m.opts.priority.Realtime() && err == nil && limit != "-1" {
		add("the kernel lets real-time threads run for at most %s us of each period (/%s), and takes the CPU away from the loop for the rest", limit, throttle)
	}
}

// noiseFiles are the files that were asked for; others are nil.
type noiseFiles struct{ report, histogram, hgrm, hlog, plot *display.File }

// createNoiseFiles opens them, so that one that cannot be written is found before
// anything starts.
func createNoiseFiles(opts *noiseOptions) (noiseFiles, error) {
	var f noiseFiles
	for _, want := range []struct {
		path string
		file **display.File
	}{{opts.options.report, &f.report}, {opts.histogram, &f.histogram}, {opts.hgrm, &f.hgrm}, {opts.hlog, &f.hlog}, {opts.plot, &f.plot}} {
		if want.path == "" {
			continue
		}
		var err error
		if *want.file, err = display.Create(want.path); err != nil {
			f.discard()
			return f, err
		}
	}
	return f, nil
}

// discard drops files that were not published.
func (f *noiseFiles) discard() {
	for _, file := range []*display.File{f.report, f.histogram, f.hgrm, f.hlog, f.plot} {
		if file != nil {
			file.Discard()
		}
	}
}

func (f *noiseFiles) publish(r *noise.Report, records []*noise.Record) error {
	var errs []error
	put := func(file *display.File, write func() error) {
		if file == nil {
			return
		}
		err := write()
		if err == nil {
			err = file.Publish()
		}
		errs = append(errs, err)
	}
	put(f.report, func() error { return noise.WriteJSON(f.report, r) })
	put(f.histogram, func() error { return noise.WriteHistogram(f.histogram, r, records) })
	put(f.hgrm, func() error { return noise.WritePercentiles(f.hgrm, records) })
	put(f.hlog, func() error { return noise.WriteLog(f.hlog, r, records) })
	put(f.plot, func() error { return noise.WritePlot(f.plot, r, records) })
	return errors.Join(errs...)
}
