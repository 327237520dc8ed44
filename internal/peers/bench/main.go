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
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/peers"
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
	flag.Parse()
	path, err := filepath.Abs(*program)
	if err != nil {
		log.Fatal(err)
	}
	if err := run(path, *rounds); err != nil {
		log.Fatal(err)
	}
}

func run(taskiso string, rounds int) error {
	loads := []load{
		{"system calls", syscalls, makeSyscalls, false},
		{"interrupts by membarrier", interrupts, makeInterrupts, true},
	}
	for _, l := range loads {
		results, err := measure(l, taskiso, rounds)
		if err != nil {
			return err
		}
		print(l, results)
	}
	return nil
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
	results := make([]result, len(observers))
	for range rounds {
		for i, o := range observers {
			results[i].observer = o.Name
			if results[i].err != nil {
				continue
			}
			took, err := once(l, o)
			results[i].times, results[i].err = append(results[i].times, took), err
		}
	}
	if err := results[0].err; err != nil {
		return nil, fmt.Errorf("measuring %s: %w", l.name, err)
	}
	return results, nil
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

// print writes a table in Markdown. The cost is relative to the cheapest peer's.
func print(l load, results []result) {
	alone := results[0].median()
	var cheapest time.Duration
	for _, r := range results[2:] {
		if cost := r.cost(alone); r.err == nil && (cheapest == 0 || cost < cheapest) {
			cheapest = cost
		}
	}
	fmt.Printf("\n%s, %d a round, %d rounds\n\n", l.name, l.times, len(results[0].times))
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	fmt.Fprint(w, "| observed by\t| cost, cheapest peer = 1\t| cost ns\t| in all ns\t|\n|---\t|---:\t|---:\t|---:\t|\n")
	for _, r := range results {
		if r.err != nil {
			fmt.Fprintf(w, "| %s\t| not measured: %v\t| \t| \t|\n", r.observer, r.err)
			continue
		}
		each := func(d time.Duration) int64 { return d.Nanoseconds() / int64(l.times) }
		ratio := "-"
		if cheapest > 0 {
			ratio = fmt.Sprintf("%.2f", float64(r.cost(alone))/float64(cheapest))
		}
		fmt.Fprintf(w, "| %s\t| %s\t| %d\t| %d\t|\n", r.observer, ratio, each(r.cost(alone)), each(r.median()))
	}
	w.Flush()
}

func (r result) cost(alone time.Duration) time.Duration {
	if r.err != nil {
		return 0
	}
	return r.median() - alone
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
