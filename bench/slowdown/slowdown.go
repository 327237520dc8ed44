// SPDX-License-Identifier: Apache-2.0

// Package slowdown measures how much a program is slowed down while its CPU is observed, by
// taskiso and by its peers, in one run: "make bench-observers".
package slowdown

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"math"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/bench/peers"
	"github.com/taskiso/taskiso/bench/results"
	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/topology"
)

const (
	observedCPU = 1
	otherCPU    = 0
	attach      = 6 * time.Second      // bpftrace took more than 3 s on a busy machine
	batches     = 50                   // of a load, of which the median counts
	rest        = 5 * time.Millisecond // between batches, so that readers keep up
)

// load is something a program does that an observer makes slower.
type load struct {
	name    string
	event   peers.Event
	times   int // in a batch
	do      func(times int) ([]time.Duration, error)
	made    func() (int, error) // how often so far; nil: as often as it was asked to
	origins bool                // its observers record who sends function calls
}

// Define adds the flags of the benchmark and returns what it does.
func Define(flags *flag.FlagSet) func() error {
	return peers.Define(flags, 7, "docs/bench/observers.json", run)
}

func run(taskiso, out string, rounds int) error {
	loads := []load{
		{"system calls", peers.Getppid, 1_000, makeSyscalls, nil, false},
		{"interrupts by membarrier", peers.FunctionCall, 200, makeInterrupts, functionCalls, true},
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
		cost, recorded := tables(l, measured, f.Missing)
		f.Tables = append(f.Tables, cost, recorded)
		fmt.Printf("%s, %d batches of %d a round, %d rounds\n\n%s\n%s\n", l.name, batches, l.times, rounds, cost.Markdown(), recorded.Markdown())
	}
	f.Busy = results.Load()
	return f.Write(out)
}

// result is what came of a load under one observer. Of each round there is one value.
type result struct {
	observer string
	cost     []float64 // ns of one call more than right before and after
	inAll    []float64 // ns of one call
	recorded []float64 // of a hundred calls
	err      error     // why it was not measured
}

// nobody is the observer that is none. Its cost is what the method is wrong by.
const nobody = "nobody"

// measure has observers take turns.
func measure(l load, taskiso string, rounds int) ([]result, error) {
	observers := append([]peers.Observer{{Name: nobody}, peers.Taskiso(taskiso, observedCPU)}, peers.Of(observedCPU, peers.Want{Numbers: true, Origins: l.origins})...)
	measured := make([]result, len(observers))
	for round := range rounds {
		for i, o := range observers {
			r := &measured[i]
			r.observer = o.Name
			if r.err == nil {
				r.err = r.round(l, o)
				log.Printf("%s, round %d of %d: %s", l.name, round+1, rounds, o.Name)
			}
		}
	}
	if err := measured[0].err; err != nil {
		return nil, fmt.Errorf("measuring %s: %w", l.name, err)
	}
	return measured, nil
}

// round measures before, while and after an observer is at work: how fast the load is
// alone changes from minute to minute.
func (r *result) round(l load, o peers.Observer) error {
	before, err := l.each()
	if err != nil {
		return err
	}
	var observed float64
	made := l.times * batches
	recorded, err := during(o, l, func() (err error) {
		if l.made == nil {
			observed, err = l.each()
			return err
		}
		begin, err := l.made()
		if err != nil {
			return err
		}
		if observed, err = l.each(); err != nil {
			return err
		}
		end, err := l.made()
		made = end - begin
		return err
	})
	if err != nil {
		return err
	}
	after, err := l.each()
	if err != nil {
		return err
	}
	r.cost = append(r.cost, observed-(before+after)/2)
	r.inAll = append(r.inAll, observed)
	if o.Name != nobody {
		r.recorded = append(r.recorded, 100*float64(recorded)/float64(made))
	}
	return nil
}

// each returns how long one call takes, in ns: the median of batches.
func (l load) each() (float64, error) {
	took, err := l.do(l.times)
	if err != nil {
		return 0, err
	}
	var ns []float64
	for _, d := range took {
		ns = append(ns, float64(d.Nanoseconds())/float64(l.times))
	}
	return results.Median(ns), nil
}

func during(o peers.Observer, l load, work func() error) (recorded int, err error) {
	if o.Command == nil {
		time.Sleep(attach)
		return 0, work()
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	var failed error
	r, err := o.During(dir, attach, l.event, func() { failed = work() })
	return r.Events, errors.Join(err, failed)
}

// tables has the cost of one call, what it takes in all, and what was recorded.
func tables(l load, measured []result, missing map[string]string) (cost, recorded results.Table) {
	cost = results.Table{Name: l.name, Unit: "ns", Columns: []string{"cost", "in all"}, Base: cheapest(measured)}
	recorded = results.Table{Name: l.name + ", recorded", Unit: "%", Columns: []string{"recorded of what was made"}}
	for i, r := range measured {
		if r.err != nil {
			missing[r.observer+", "+l.name] = r.err.Error()
			continue
		}
		ours := i == 1
		for round := range r.cost {
			if r.observed(round) {
				cost.Add(r.observer, ours, r.cost[round], r.inAll[round])
			}
		}
		for _, n := range r.recorded {
			recorded.Add(r.observer, ours, n)
		}
	}
	return cost, recorded
}

// enough is how much of a hundred calls has to be recorded in a round that counts: what
// an observer does not do costs nothing.
const enough = 90

// observed reports whether the observer, if it is one, did its work in a round.
func (r *result) observed(round int) bool { return r.recorded == nil || r.recorded[round] >= enough }

// costs returns those of rounds that count.
func (r *result) costs() []float64 {
	var costs []float64
	for round, c := range r.cost {
		if r.observed(round) {
			costs = append(costs, c)
		}
	}
	return costs
}

// cheapest returns the peer with the least cost, or "" if that cannot be told from what
// the method is wrong by.
func cheapest(measured []result) string {
	wrong := 0.0
	for _, c := range measured[0].cost {
		wrong = max(wrong, math.Abs(c))
	}
	name, least := "", math.Inf(1)
	for _, r := range measured[2:] {
		if r.err != nil {
			continue
		}
		if cost := results.Median(r.costs()); cost < least { // NaN is not
			name, least = r.observer, cost
		}
	}
	if least <= wrong {
		return ""
	}
	return name
}

// timed calls f in batches.
func timed(times int, f func()) []time.Duration {
	took := make([]time.Duration, batches)
	for i := range took {
		begin := time.Now()
		for range times {
			f()
		}
		took[i] = time.Since(begin)
		time.Sleep(rest)
	}
	return took
}

// makeSyscalls makes system calls on the observed CPU.
func makeSyscalls(times int) (took []time.Duration, err error) {
	err = onCPU(observedCPU, func() {
		took = timed(times, func() { unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0) })
	})
	return took, err
}

// makeInterrupts interrupts a thread that spins on the observed CPU from another one.
func makeInterrupts(times int) (took []time.Duration, err error) {
	const registerPrivateExpedited, privateExpedited = 1 << 4, 1 << 3 // include/uapi/linux/membarrier.h
	if _, _, errno := unix.RawSyscall(unix.SYS_MEMBARRIER, registerPrivateExpedited, 0, 0); errno != 0 {
		return nil, fmt.Errorf("registering for membarrier: %w", errno)
	}
	var spinning, stop atomic.Bool
	ended := make(chan error, 1)
	go func() {
		err := onCPU(observedCPU, func() {
			for spinning.Store(true); !stop.Load(); {
			}
		})
		spinning.Store(true) // or it never will
		ended <- err
	}()
	err = onCPU(otherCPU, func() {
		for !spinning.Load() {
			time.Sleep(time.Millisecond)
		}
		took = timed(times, func() { unix.RawSyscall(unix.SYS_MEMBARRIER, privateExpedited, 0, 0) })
	})
	stop.Store(true)
	return took, errors.Join(err, <-ended)
}

// functionCalls returns how many the observed CPU has received. membarrier leaves a CPU
// out that runs something else at that moment.
func functionCalls() (int, error) {
	table, err := topology.Interrupts(os.DirFS("/"))
	if err != nil {
		return 0, err
	}
	n, ok := table.Count("CAL", observedCPU)
	if !ok {
		return 0, fmt.Errorf("no function calls of CPU %d in /proc/interrupts", observedCPU)
	}
	return int(n), nil
}

// onCPU runs f in a thread that is confined to a CPU, and ends with f.
func onCPU(cpu int, f func()) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := affinity.Pin(cpu); err != nil {
			result <- fmt.Errorf("confining a thread: %w", err)
			return
		}
		f()
		result <- nil
	}()
	return <-result
}
