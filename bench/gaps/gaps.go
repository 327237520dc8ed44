// SPDX-License-Identifier: Apache-2.0

// Package gaps measures the gaps on a CPU with taskiso noise and with its peers, in turns,
// while the other CPU has work and while it has none: "make bench-noise".
package gaps

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/bench/results"
	"github.com/taskiso/taskiso/internal/affinity"
)

// nobody is a user who may not trace.
const nobody = 65534

// places are the CPU that is measured, and the one for everything else.
type places struct{ measured, other int }

// peerPackages are Debian's packages with the tools that are compared.
var peerPackages = []string{"rt-tests", "rtla"}

// limits are lengths in microseconds. How many gaps reach each is what is compared.
var limits = []int{5, 10, 20, 50, 100, 200, 500}

// Stress is the subcommand that is the work of the other CPU.
const Stress = "stress"

// DefineStress adds the flags of the work and returns what it does.
func DefineStress(flags *flag.FlagSet) func() error {
	cpu := flags.Int("cpu", 0, "work on `CPU`")
	return func() error { return stress(*cpu) }
}

// Define adds the flags of the benchmark and returns what it does.
func Define(flags *flag.FlagSet) func() error {
	var on places
	flags.IntVar(&on.measured, "cpu", 1, "measure `CPU`")
	flags.IntVar(&on.other, "other", 0, "use `CPU` for everything else")
	program := flags.String("taskiso", "bin/taskiso", "`PROGRAM` to measure")
	rounds := flags.Int("rounds", 5, "measure each `N` times, in turns")
	each := flags.Duration("d", 10*time.Second, "measure for `TIME` each time")
	out := flags.String("o", "docs/bench/noise.json", "write what was measured to `FILE`")
	return func() error { return run(*program, *out, on, *rounds, *each) }
}

func run(program, out string, on places, rounds int, each time.Duration) error {
	dir, err := os.MkdirTemp("", "bench-noise")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o777); err != nil { // for the run as nobody
		return err
	}
	taskiso := filepath.Join(dir, "taskiso")
	if err := copyProgram(program, taskiso); err != nil {
		return err
	}
	f, err := results.Describe("make bench-noise")
	if err != nil {
		return err
	}
	f.Peers = results.Versions(peerPackages...)
	f.Missing = map[string]string{}
	b := bench{dir: dir, each: each, on: on, tools: on.tools(taskiso, f.Missing)}
	for _, busy := range []bool{false, true} {
		tables, err := b.compare(busy, rounds)
		if err != nil {
			return err
		}
		f.Tables = append(f.Tables, tables...)
	}
	f.Machine += "; taskiso noise reads " + b.reads
	processes, err := on.compareProcesses(taskiso, rounds, each)
	if err != nil {
		return err
	}
	f.Tables = append(f.Tables, processes)
	return f.Publish(os.Stdout, out)
}

// copyProgram puts a program where nobody may execute it.
func copyProgram(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("reading the program to measure: %w", err)
	}
	return os.WriteFile(to, text, 0o755)
}

// measured is what a tool saw in one run.
type measured struct {
	seconds float64
	busy    float64   // seconds of processor time of all that the tool did
	samples float64   // 0: it has no such thing
	reach   []float64 // for each of limits; nil: it does not tell
	longest float64   // in microseconds
	// shortest is how long a gap has to be to be told from the loop, in ns; 0: not a loop.
	shortest float64
	reads    string // which counter, if it says so
}

type tool struct {
	name    string
	ours    bool
	tracer  string // of the kernel, which it needs
	measure func(dir string, each time.Duration) (measured, error)
}

// tools returns those that can be compared here; missing says of the others why not.
func (on places) tools(taskiso string, missing map[string]string) []tool {
	all := []tool{
		{name: "taskiso noise", ours: true, measure: on.loop(taskiso, 0)},
		{name: "taskiso noise, not traced", ours: true, measure: on.loop(taskiso, nobody)},
		{name: "oslat", measure: on.oslat},
		{name: "rtla osnoise", tracer: "osnoise", measure: on.osnoise},
		{name: "rtla osnoise, interrupts off", tracer: "osnoise", measure: on.hwnoise},
		{name: "hwlatdetect", tracer: "hwlat", measure: on.hwlatdetect},
		{name: "cyclictest", measure: on.cyclictest},
	}
	return slices.DeleteFunc(all, func(t tool) bool {
		if t.tracer == "" {
			return false
		}
		err := haveTracer(t.tracer)
		if err != nil {
			missing[t.name] = err.Error()
		}
		return err != nil
	})
}

// haveTracer returns why the kernel's tracer cannot be used, or nil.
func haveTracer(name string) error {
	text, err := os.ReadFile(filepath.Join(tracefs, "available_tracers"))
	if err != nil {
		return err
	}
	if !slices.Contains(strings.Fields(string(text)), name) {
		return fmt.Errorf("this kernel has no tracer %s", name)
	}
	return nil
}

type bench struct {
	dir   string
	on    places
	each  time.Duration
	tools []tool
	reads string // what taskiso's loop reads
}

// compare has the tools take turns.
func (b *bench) compare(busy bool, rounds int) ([]results.Table, error) {
	state := "the other CPU idle"
	if busy {
		state = "the other CPU busy"
		stop, err := startStress(b.on.other)
		if err != nil {
			return nil, err
		}
		defer stop()
	}
	gaps := results.Table{Name: "gaps, " + state, Unit: "in a second"}
	for _, l := range limits {
		gaps.Columns = append(gaps.Columns, fmt.Sprintf("%d µs", l))
	}
	speed := results.Table{Name: "samples, " + state, Columns: []string{"in a second of the loop", "in a second of processor time"}, Unit: "million", Base: "oslat"}
	shortest := results.Table{Name: "shortest, " + state, Columns: []string{"shortest gap that shows"}, Unit: "ns", Base: "oslat"}
	longest := results.Table{Name: "longest, " + state, Columns: []string{"longest"}, Unit: "µs"}
	for range rounds {
		for _, t := range b.tools {
			m, err := t.measure(b.dir, b.each)
			if err != nil {
				return nil, fmt.Errorf("measuring with %s: %w", t.name, err)
			}
			log.Printf("%s: %s: %.0f, longest %.0f µs", state, t.name, m.reach, m.longest)
			perSecond := make([]float64, len(m.reach))
			for i, n := range m.reach {
				perSecond[i] = n / m.seconds
			}
			gaps.Add(t.name, t.ours, perSecond...)
			longest.Add(t.name, t.ours, m.longest)
			b.reads = cmp.Or(m.reads, b.reads)
			if m.samples > 0 {
				speed.Add(t.name, t.ours, m.samples/m.seconds/1e6, m.samples/m.busy/1e6)
				shortest.Add(t.name, t.ours, m.shortest)
			}
		}
	}
	return []results.Table{gaps, longest, speed, shortest}, nil
}

// startStress gives the other CPU work and returns what ends it.
func startStress(cpu int) (stop func(), err error) {
	c := exec.Command("/proc/self/exe", Stress, "-cpu", strconv.Itoa(cpu))
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("giving the other CPU work: %w", err)
	}
	time.Sleep(time.Second)
	return func() {
		c.Process.Kill()
		c.Wait()
	}, nil
}

// stress maps, touches and unmaps memory, and starts programs, on a CPU.
func stress(cpu int) error {
	runtime.LockOSThread() // what it starts runs there as well
	if err := affinity.Pin(cpu); err != nil {
		return err
	}
	const size, page = 1 << 20, 4096
	for {
		for range 20 {
			memory, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
			if err != nil {
				return err
			}
			for i := 0; i < size; i += page {
				memory[i] = 1
			}
			if err := unix.Munmap(memory); err != nil {
				return err
			}
		}
		if err := exec.Command("/bin/true").Run(); err != nil && !errors.Is(err, exec.ErrNotFound) {
			return err
		}
	}
}
