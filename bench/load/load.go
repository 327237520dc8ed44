// SPDX-License-Identifier: Apache-2.0

// Package load measures what observers record of a high rate of system calls, and how much
// memory they need for that: "make bench-load".
package load

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/bench/peers"
	"github.com/taskiso/taskiso/bench/results"
	"github.com/taskiso/taskiso/internal/affinity"
)

const (
	observedCPU = 1
	attach      = 3 * time.Second
	rate        = 100_000 // system calls a second; each is two events
)

// Calls is the subcommand that is the load.
const Calls = "calls"

// DefineCalls adds the flags of the load and returns what it does.
func DefineCalls(flags *flag.FlagSet) func() error {
	d := flags.Duration("d", time.Second, "make calls for `TIME`")
	return func() error { return makeCalls(*d) }
}

// Define adds the flags of the benchmark and returns what it does.
func Define(flags *flag.FlagSet) func() error {
	program := flags.String("taskiso", "bin/taskiso", "`PROGRAM` to measure")
	rounds := flags.Int("rounds", 3, "measure each `N` times, in turns")
	each := flags.Duration("d", 10*time.Second, "make calls for `TIME` each time")
	out := flags.String("o", "docs/bench/load.json", "write what was measured to `FILE`")
	return func() error {
		path, err := filepath.Abs(*program)
		if err != nil {
			return err
		}
		return run(path, *out, *rounds, *each)
	}
}

func run(taskiso, out string, rounds int, each time.Duration) error {
	f, err := results.Describe("make bench-load")
	if err != nil {
		return err
	}
	f.Peers = results.Versions("bpftrace", "linux-perf", "trace-cmd")
	f.Missing = make(map[string]string)
	calls := results.Table{Name: "calls", Columns: []string{"made", "recorded", "not recorded"}}
	memory := results.Table{Name: "memory", Unit: "MiB", Columns: []string{"memory of the observer"}}
	for round := range rounds {
		for i, o := range append([]peers.Observer{peers.Taskiso(taskiso, observedCPU)}, peers.Of(observedCPU, peers.Want{Numbers: true})...) {
			if f.Missing[o.Name] != "" {
				continue
			}
			made, r, err := measure(o, each)
			log.Printf("round %d of %d: %s: %d made, %d recorded", round+1, rounds, o.Name, made, r.Events)
			if err != nil {
				f.Missing[o.Name] = err.Error()
				continue
			}
			ours := i == 0
			calls.Add(o.Name, ours, float64(made), float64(r.Events), float64(made-r.Events))
			memory.Add(o.Name, ours, float64(r.Memory)/(1<<20))
		}
	}
	memory.Base = bestPeer(&calls, &memory)
	loss := results.Table{Name: "loss", Columns: []string{"made", "recorded", "reported as lost"}}
	for range rounds {
		if err := measureLoss(&loss, taskiso, each); err != nil {
			return err
		}
	}
	f.Tables = []results.Table{calls, memory, loss}
	return f.Publish(os.Stdout, out)
}

// bestPeer returns the one with the least memory among those that recorded most calls.
func bestPeer(calls, memory *results.Table) string {
	name := ""
	least := 0.0
	for i, r := range calls.Rows {
		made, recorded := results.Median(r.Values[0]), results.Median(r.Values[1])
		m := results.Median(memory.Rows[i].Values[0])
		if !r.Ours && recorded > 0.9*made && (name == "" || m < least) {
			name, least = r.Name, m
		}
	}
	return name
}

func measure(o peers.Observer, each time.Duration) (made int, r peers.Recording, err error) {
	dir, err := os.MkdirTemp("", "bench-load")
	if err != nil {
		return 0, r, err
	}
	defer os.RemoveAll(dir)
	var failed error
	if r, err = o.During(dir, attach, peers.Getppid, func() { made, failed = Start(each) }); err == nil {
		err = failed
	}
	return made, r, err
}

// measureLoss measures with a buffer of one page, which is much too small.
func measureLoss(t *results.Table, taskiso string, each time.Duration) error {
	o := peers.Taskiso(taskiso, observedCPU)
	o.Command = append(o.Command, "--buffer", fmt.Sprintf("%dK", os.Getpagesize()>>10))
	recorded, said := o.Recorded, uint64(0)
	o.Recorded = func(dir string, e peers.Event) (n int, err error) {
		if said, err = lostEntries(filepath.Join(dir, "taskiso.json")); err != nil {
			return 0, err
		}
		return recorded(dir, e)
	}
	made, r, err := measure(o, each)
	if err != nil {
		return fmt.Errorf("measuring with a small buffer: %w", err)
	}
	t.Add(o.Name+" --buffer 4K", true, float64(made), float64(r.Events), float64(said))
	return nil
}

// lostEntries returns how many entries of system calls a report says are lost.
func lostEntries(file string) (lost uint64, err error) {
	r, err := peers.Report(file)
	if err != nil {
		return 0, err
	}
	for _, e := range r.CPUs[0].Events {
		if e.Name == "sys_enter" {
			lost += e.Lost
		}
	}
	return lost, nil
}

// Start has calls made in a process of its own and returns how many it made.
func Start(d time.Duration) (int, error) {
	c := exec.Command("/proc/self/exe", Calls, "-d", d.String())
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return 0, fmt.Errorf("making system calls: %w", err)
	}
	return strconv.Atoi(strings.TrimSpace(string(out)))
}

// makeCalls makes getppid calls at a steady rate, on the observed CPU, and prints how many.
func makeCalls(d time.Duration) error {
	runtime.LockOSThread()
	if err := affinity.Pin(observedCPU); err != nil {
		return err
	}
	made, begin := 0, time.Now()
	for since := time.Since(begin); since < d; since = time.Since(begin) {
		for due := int(since.Seconds() * rate); made < due; made++ {
			unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
		}
	}
	_, err := fmt.Println(made)
	return err
}
