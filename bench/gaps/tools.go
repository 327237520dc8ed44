// SPDX-License-Identifier: Apache-2.0

package gaps

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/taskiso/taskiso/bench/results"
	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/launch"
	"github.com/taskiso/taskiso/internal/loop"
	"github.com/taskiso/taskiso/internal/noise"
)

func command(dir, name string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	c := exec.Command(name, args...)
	c.Dir = dir
	out := new(bytes.Buffer)
	c.Stdout, c.Stderr = out, out
	return c, out
}

// attempts is how often a run is tried while another taskiso has the CPU.
const attempts = 30

// loop measures with taskiso as a user.
func (on places) loop(taskiso string, user uint32) func(string, time.Duration) (measured, error) {
	once := on.loopOnce(taskiso, user)
	return func(dir string, each time.Duration) (m measured, err error) {
		for range attempts {
			if m, err = once(dir, each); err == nil || !strings.Contains(err.Error(), "is using it") {
				break
			}
			time.Sleep(2 * time.Second)
		}
		return m, err
	}
}

func (on places) loopOnce(taskiso string, user uint32) func(string, time.Duration) (measured, error) {
	return func(dir string, each time.Duration) (measured, error) {
		own, err := os.MkdirTemp(dir, "taskiso")
		if err != nil {
			return measured{}, err
		}
		if err := os.Chown(own, int(user), int(user)); err != nil {
			return measured{}, err
		}
		c, out := command(own, taskiso, "noise", "-q", "-c", fmt.Sprint(on.measured), "-H", fmt.Sprint(on.other), "-d", each.String(), "--report", "report.json", "--hlog", "hlog")
		c.SysProcAttr = &syscall.SysProcAttr{Credential: credential(user)}
		if err := c.Run(); err != nil {
			return measured{}, fmt.Errorf("%w: %s", err, out)
		}
		m, err := readNoise(own, user)
		m.busy = processorTime(c)
		return m, err
	}
}

// processorTime is what a command took with all that it has waited for, without what
// others took of its CPU.
func processorTime(c *exec.Cmd) float64 {
	return (c.ProcessState.UserTime() + c.ProcessState.SystemTime()).Seconds()
}

func readNoise(dir string, user uint32) (measured, error) {
	text, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		return measured{}, err
	}
	var r noise.Report
	if err := json.Unmarshal(text, &r); err != nil {
		return measured{}, err
	}
	if r.Tracing != (user == 0) {
		return measured{}, fmt.Errorf("tracing is %t for user %d", r.Tracing, user)
	}
	log, err := os.Open(filepath.Join(dir, "hlog"))
	if err != nil {
		return measured{}, err
	}
	defer log.Close()
	h, err := hdrhistogram.NewHistogramLogReader(log).NextIntervalHistogram()
	if err != nil {
		return measured{}, err
	}
	m := measured{seconds: r.CPUs[0].Ran.Seconds(), samples: float64(r.CPUs[0].Samples), reach: make([]float64, len(limits)), longest: float64(h.Max()) / 1e3, shortest: float64(r.Loop.Smallest), reads: string(r.Loop.Counter)}
	if r.Loop.Why != "" {
		m.reads += " (" + r.Loop.Why + ")"
	}
	for _, bar := range h.Distribution() {
		for i, l := range limits {
			if bar.From >= int64(l)*1000 {
				m.reach[i] += float64(bar.Count)
			}
		}
	}
	return m, nil
}

// rtTest is the JSON of oslat and cyclictest.
type rtTest struct {
	Thread map[string]struct {
		Max       float64
		Duration  float64
		Histogram map[string]float64
		Cycles    float64
	}
}

func readRTTest(dir string) (measured, error) {
	text, err := os.ReadFile(filepath.Join(dir, "rt.json"))
	if err != nil {
		return measured{}, err
	}
	var r rtTest
	if err := json.Unmarshal(text, &r); err != nil {
		return measured{}, err
	}
	t, ok := r.Thread["0"]
	if !ok {
		return measured{}, fmt.Errorf("no thread in %s", text)
	}
	m := measured{seconds: t.Duration, longest: t.Max, reach: make([]float64, len(limits))}
	counted := 0.0
	for key, n := range t.Histogram {
		us, err := strconv.Atoi(key)
		if err != nil {
			return measured{}, err
		}
		counted += n
		for i, l := range limits {
			if us > l {
				m.reach[i] += n
			}
		}
	}
	for i := range limits { // cyclictest does not list what is beyond its histogram
		m.reach[i] += max(0, t.Cycles-counted)
	}
	m.samples = counted
	return m, nil
}

// oslat measures with oslat. What it calls n µs is at least n-1 and less than n
// (insert_bucket in its source); the last bucket has all that is longer.
func (on places) oslat(dir string, each time.Duration) (measured, error) {
	c, out := command(dir, "oslat", "-q", "-c", fmt.Sprint(on.measured), "-C", fmt.Sprint(on.other), "-D", fmt.Sprintf("%.0f", each.Seconds()), "-b", "1024", "--json=rt.json")
	if err := c.Run(); err != nil {
		return measured{}, fmt.Errorf("%w: %s", err, out)
	}
	m, err := readRTTest(dir)
	m.busy = processorTime(c)
	m.shortest = 1000 // its first bucket, with all that is shorter
	return m, err
}

// cyclictest measures how late a thread wakes that sleeps for a millisecond each time,
// without a real-time priority, as the loops.
func (on places) cyclictest(dir string, each time.Duration) (measured, error) {
	c, out := command(dir, "cyclictest", "-q", "-a", fmt.Sprint(on.measured), "--mainaffinity="+fmt.Sprint(on.other), "-t", "1", "--policy=other", "-i", "1000", "-D", fmt.Sprintf("%.0f", each.Seconds()), "-h", "1000", "--json=rt.json")
	if err := c.Run(); err != nil {
		return measured{}, fmt.Errorf("%w: %s", err, out)
	}
	m, err := readRTTest(dir)
	m.seconds, m.samples = each.Seconds(), 0
	return m, err
}

// tracefs is where it is mounted.
const tracefs = "/sys/kernel/tracing"

// osnoise measures with the kernel's osnoise tracer: a thread of the kernel that reads
// the clock in a loop, with its interrupts on. Its bucket n has what is at least n µs
// and less than n+1.
func (on places) osnoise(dir string, each time.Duration) (measured, error) {
	c, out := command(dir, "rtla", "osnoise", "hist", "-c", fmt.Sprint(on.measured), "-d", fmt.Sprintf("%.0fs", each.Seconds()), "-T", "1", "-b", "1", "-E", "1024")
	if err := c.Run(); err != nil {
		return measured{}, fmt.Errorf("%w: %s", err, out)
	}
	return parseOsnoise(out.String(), each)
}

// hwnoise is osnoise with the interrupts of its thread off, as rtla's command of that
// name has it, which Debian 12's rtla does not know.
func (on places) hwnoise(dir string, each time.Duration) (m measured, err error) {
	const options = tracefs + "/osnoise/options"
	if err := os.WriteFile(options, []byte("OSNOISE_IRQ_DISABLE"), 0); err != nil {
		return measured{}, err
	}
	defer func() { err = errors.Join(err, os.WriteFile(options, []byte("NO_OSNOISE_IRQ_DISABLE"), 0)) }()
	return on.osnoise(dir, each)
}

func parseOsnoise(text string, each time.Duration) (measured, error) {
	m := measured{seconds: each.Seconds(), reach: make([]float64, len(limits))}
	found := false
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) != 2 {
			continue
		}
		n, err := strconv.ParseFloat(fields[1], 64)
		if err != nil {
			continue
		}
		us := math.Inf(1)
		switch fields[0] {
		case "max:":
			m.longest, found = n, true
			continue
		case "over:":
		default:
			if us, err = strconv.ParseFloat(fields[0], 64); err != nil {
				continue
			}
		}
		for i, l := range limits {
			if us >= float64(l) {
				m.reach[i] += n
			}
		}
	}
	if !found {
		return m, fmt.Errorf("no histogram in what rtla wrote: %s", text)
	}
	return m, nil
}

// hwlatdetect measures with the kernel's hwlat tracer: a thread of the kernel that reads
// the clock in a loop for nine tenths of each second, with interrupts off. It tells only
// the longest gap of each.
func (on places) hwlatdetect(dir string, each time.Duration) (measured, error) {
	c, out := command(dir, "hwlatdetect", "--duration", fmt.Sprintf("%.0fs", each.Seconds()), "--window", "1s", "--width", "900ms", "--threshold", "5us", "--hardlimit", "3600s", "--cpu-list", fmt.Sprint(on.measured))
	if err := c.Run(); err != nil {
		return measured{}, fmt.Errorf("%w: %s", err, out)
	}
	return parseHwlatdetect(out.String(), each)
}

func parseHwlatdetect(text string, each time.Duration) (measured, error) {
	m := measured{seconds: each.Seconds()}
	_, longest, found := strings.Cut(text, "Max Latency: ")
	if !found {
		return m, fmt.Errorf("no result in what hwlatdetect wrote: %s", text)
	}
	if strings.HasPrefix(longest, "Below threshold") {
		return m, nil
	}
	if _, err := fmt.Sscanf(longest, "%fus", &m.longest); err != nil {
		return m, fmt.Errorf("parsing the longest gap of hwlatdetect: %w", err)
	}
	return m, nil
}

func credential(user uint32) *syscall.Credential {
	return &syscall.Credential{Uid: user, Gid: user}
}

// compareProcesses measures on the CPU and the one before it at once, by one process
// and by two.
func (on places) compareProcesses(taskiso string, rounds int, each time.Duration) (results.Table, error) {
	t := results.Table{Name: "processes", Unit: "in a second", Columns: []string{"5 µs", "50 µs"}}
	first, err := cpulist.New(on.measured - 1)
	if err != nil {
		return t, err
	}
	second, err := cpulist.New(on.measured)
	if err != nil {
		return t, err
	}
	arrangements := []struct {
		name string
		cpus []cpulist.Set
	}{
		{"one process, two threads", []cpulist.Set{first.Union(second)}},
		{"two processes", []cpulist.Set{first, second}},
	}
	for _, a := range arrangements {
		t.Rows = append(t.Rows, results.Row{Name: a.name, Ours: true, Values: make([][]float64, 2)})
	}
	for range rounds {
		for i, a := range arrangements {
			rates, err := loopsOn(taskiso, a.cpus, each)
			if err != nil {
				return t, fmt.Errorf("measuring %s: %w", a.name, err)
			}
			for j, r := range rates {
				t.Rows[i].Values[j] = append(t.Rows[i].Values[j], r)
			}
		}
	}
	return t, nil
}

// loopsOn has a loop process of taskiso for each list of CPUs, and returns how many gaps of 5 and of 50 µs they see in a second.
func loopsOn(taskiso string, lists []cpulist.Set, each time.Duration) ([2]float64, error) {
	var rates [2]float64
	var all []*noise.Record
	for _, cpus := range lists {
		shared, err := noise.NewShared(cpus.Len())
		if err != nil {
			return rates, err
		}
		defer shared.Close()
		end, err := startLoops(taskiso, cpus, shared)
		if err != nil {
			return rates, fmt.Errorf("loops on CPU %v: %w", cpus, err)
		}
		defer end()
		all = append(all, shared.Records...)
	}
	for _, r := range all {
		r.Begin()
	}
	time.Sleep(each)
	for _, r := range all {
		r.Stop()
	}
	for _, r := range all {
		if err := addRates(&rates, r); err != nil {
			return rates, err
		}
	}
	return rates, nil
}

// startLoops returns when there is a loop on each of the CPUs, and what ends their process.
func startLoops(taskiso string, cpus cpulist.Set, shared *noise.Shared) (end func(), err error) {
	cfg := loop.Config{CPUs: cpus, Counter: noise.CPUCounter(), Threshold: loop.Threshold, Shared: true}
	c := exec.Command(taskiso)
	if c.Args, err = cfg.Arguments(); err != nil {
		return nil, err
	}
	c.Env = loop.Environment()
	c.ExtraFiles = append(make([]*os.File, launch.FirstFile-3), shared.File) // the first of them is descriptor 3
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	end = func() {
		c.Process.Kill()
		c.Wait()
	}
	if err := loop.NewOutput(out).WaitSpinning(); err != nil {
		end()
		return nil, err
	}
	return end, nil
}

// addRates adds how many gaps a loop that was stopped has seen in a second.
func addRates(rates *[2]float64, r *noise.Record) error {
	for deadline := time.Now().Add(10 * time.Second); !r.Done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("a loop does not end")
		}
	}
	for _, bar := range r.Histogram().Distribution() {
		for i, limit := range []time.Duration{5 * time.Microsecond, 50 * time.Microsecond} {
			if bar.From >= int64(limit) {
				rates[i] += float64(bar.Count) / r.State().Ran.Seconds()
			}
		}
	}
	return nil
}
