// SPDX-License-Identifier: Apache-2.0

// bench measures how much a program is slowed down while its CPU is observed, by
// taskiso and by its peers, in one run: "make bench-observers".
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/peers"
	"github.com/taskiso/taskiso/internal/peers/results"
)

const (
	observedCPU = 1
	otherCPU    = 0
	attach      = 3 * time.Second
	syscalls    = 200_000
	interrupts  = 20_000
)

// load is something a program does that an observer makes slower.
type load struct {
	name    string
	times   int
	do      func(times int) error
	origins bool // its observers record who sends function calls
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench: ")
	program := flag.String("taskiso", "bin/taskiso", "`PROGRAM` to measure")
	rounds := flag.Int("rounds", 5, "measure each `N` times, in turns")
	out := flag.String("o", "docs/bench/observers.json", "write what was measured to `FILE`")
	flag.Parse()
	path, err := filepath.Abs(*program)
	if err != nil {
		log.Fatal(err)
	}
	if err := run(path, *out, *rounds); err != nil {
		log.Fatal(err)
	}
}

func run(taskiso, out string, rounds int) error {
	loads := []load{
		{"system calls", syscalls, makeSyscalls, false},
		{"interrupts by membarrier", interrupts, makeInterrupts, true},
	}
	f, err := results.Describe("make bench-observers")
	if err != nil {
		return err
	}
	f.Missing = make(map[string]string)
	f.Peers = results.Versions("bpftrace", "linux-perf", "trace-cmd")
	for _, l := range loads {
		measured, err := measure(l, taskiso, rounds)
		if err != nil {
			return err
		}
		t := table(l, measured, f.Missing)
		f.Tables = append(f.Tables, t)
		fmt.Printf("%s, %d a round, %d rounds\n\n%s\n", l.name, l.times, rounds, t.Markdown())
	}
	f.Busy = results.Load()
	return f.Write(out)
}

// result is what came of a load under one observer.
type result struct {
	observer string
	times    []time.Duration // of one round each
	err      error           // why it was not measured
}

func (r result) median() time.Duration { return slices.Sorted(slices.Values(r.times))[len(r.times)/2] }

// measure takes turns, so that what else the machine does hits all alike.
func measure(l load, taskiso string, rounds int) ([]result, error) {
	observers := append([]peers.Observer{
		{Name: "nobody"},
		{Name: "taskiso watch", Command: []string{taskiso, "watch", "-q", "-c", fmt.Sprint(observedCPU), "--report", "taskiso.json"}, Syscalls: reported},
	}, peers.Of(observedCPU, l.origins)...)
	measured := make([]result, len(observers))
	for range rounds {
		for i, o := range observers {
			measured[i].observer = o.Name
			if measured[i].err != nil {
				continue
			}
			took, err := once(l, o)
			measured[i].times, measured[i].err = append(measured[i].times, took), err
		}
	}
	if err := measured[0].err; err != nil {
		return nil, fmt.Errorf("measuring %s: %w", l.name, err)
	}
	return measured, nil
}

func once(l load, o peers.Observer) (time.Duration, error) {
	var took time.Duration
	var failed error
	work := func() {
		begin := time.Now()
		failed = l.do(l.times)
		took = time.Since(begin)
	}
	if o.Command == nil {
		work()
		return took, failed
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	seen, err := o.During(dir, attach, work)
	if err == nil && seen == 0 && !l.origins {
		err = errors.New("it recorded no system call")
	}
	return took, errors.Join(err, failed)
}

// reported tells whether there were system calls in taskiso's report at all.
func reported(dir string) (int, error) {
	text, err := os.ReadFile(filepath.Join(dir, "taskiso.json"))
	if err != nil {
		return 0, err
	}
	var report struct {
		CPUs []struct{ Breaks int }
	}
	if err := json.Unmarshal(text, &report); err != nil {
		return 0, err
	}
	return report.CPUs[0].Breaks, nil
}

// table has the cost of one call, and what it takes in all. A cost is relative to the
// median without an observer.
func table(l load, measured []result, missing map[string]string) results.Table {
	t := results.Table{Name: l.name, Unit: "ns", Columns: []string{"cost", "in all"}, Base: cheapest(measured)}
	each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(l.times) }
	for i, r := range measured {
		if r.err != nil {
			missing[r.observer+", "+l.name] = r.err.Error()
			continue
		}
		row := results.Row{Name: r.observer, Ours: i == 1, Values: make([][]float64, 2)}
		for _, took := range r.times {
			row.Values[0] = append(row.Values[0], each(took-measured[0].median()))
			row.Values[1] = append(row.Values[1], each(took))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// cheapest returns the peer with the least cost, or "" if it is none: then it is not
// known.
func cheapest(measured []result) string {
	name, least := "", time.Duration(0)
	for _, r := range measured[2:] {
		if r.err != nil {
			continue
		}
		cost := r.median() - measured[0].median()
		if cost <= 0 {
			return ""
		}
		if least == 0 || cost < least {
			name, least = r.observer, cost
		}
	}
	return name
}

// makeSyscalls makes system calls on the observed CPU.
func makeSyscalls(times int) error {
	return onCPU(observedCPU, func() {
		for range times {
			unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
		}
	})
}

// makeInterrupts interrupts a thread that spins on the observed CPU from another one.
func makeInterrupts(times int) error {
	const registerPrivateExpedited, privateExpedited = 1 << 4, 1 << 3 // include/uapi/linux/membarrier.h
	if _, _, errno := unix.RawSyscall(unix.SYS_MEMBARRIER, registerPrivateExpedited, 0, 0); errno != 0 {
		return fmt.Errorf("registering for membarrier: %w", errno)
	}
	var stop atomic.Bool
	ended := make(chan error, 1)
	go func() {
		ended <- onCPU(observedCPU, func() {
			for !stop.Load() {
			}
		})
	}()
	err := onCPU(otherCPU, func() {
		for range times {
			unix.RawSyscall(unix.SYS_MEMBARRIER, privateExpedited, 0, 0)
		}
	})
	stop.Store(true)
	return errors.Join(err, <-ended)
}

// onCPU runs f in a thread that is confined to a CPU, and ends with f.
func onCPU(cpu int, f func()) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		var set unix.CPUSet
		set.Set(cpu)
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			result <- fmt.Errorf("confining a thread to CPU %d: %w", cpu, err)
			return
		}
		f()
		result <- nil
	}()
	return <-result
}
