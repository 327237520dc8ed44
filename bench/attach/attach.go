// SPDX-License-Identifier: Apache-2.0

// Package attach measures how long observers take until they observe: "make bench-open".
package attach

import (
	"bytes"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"time"

	"github.com/taskiso/taskiso/bench/peers"
	"github.com/taskiso/taskiso/bench/results"
	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/topology"
	"github.com/taskiso/taskiso/internal/trace"
)

const observedCPU = 1

// Define adds the flags of the benchmark and returns what it does.
func Define(flags *flag.FlagSet) func() error {
	return peers.Define(flags, 9, "docs/bench/open.json", run)
}

func run(taskiso, out string, rounds int) error {
	f, err := results.Describe("make bench-open")
	if err != nil {
		return err
	}
	f.Peers = results.Versions("bpftrace", "linux-perf", "trace-cmd")
	f.Missing = make(map[string]string)
	whole := results.Table{Name: "whole", Unit: "ms", Columns: []string{"attach, run true, detach"}, Base: "bpftrace"}
	open := results.Table{Name: "open", Unit: "ms", Columns: []string{"load and attach", "detach"}}
	for round := range rounds {
		log.Printf("round %d of %d", round+1, rounds)
		for i, o := range peers.Once(taskiso, observedCPU, "/bin/true") {
			if f.Missing[o.Name] != "" {
				continue
			}
			took, err := once(o)
			if err != nil {
				f.Missing[o.Name] = err.Error()
				continue
			}
			whole.Add(o.Name, i == 0, took)
		}
		attach, detach, err := openAndClose()
		if err != nil {
			return err
		}
		open.Add("package trace alone", true, attach, detach)
	}
	f.Tables = []results.Table{whole, open}
	return f.Publish(os.Stdout, out)
}

// once runs a command and returns how many milliseconds it took.
func once(o peers.Observer) (float64, error) {
	dir, err := os.MkdirTemp("", "bench-open")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	c := exec.Command(o.Command[0], o.Command[1:]...)
	var said bytes.Buffer
	c.Dir, c.Stderr = dir, &said
	begin := time.Now()
	if err := o.Start(c); err != nil {
		return 0, err
	}
	if err := c.Wait(); err != nil {
		return 0, fmt.Errorf("running %s: %w: %s", o.Name, err, bytes.TrimSpace(said.Bytes()))
	}
	return milliseconds(begin), nil
}

func milliseconds(since time.Time) float64 {
	return float64(time.Since(since)) / float64(time.Millisecond)
}

// openAndClose begins to observe a CPU with the same programs, and ends that.
func openAndClose() (attach, detach float64, err error) {
	possible, err := topology.Possible(os.DirFS("/"))
	if err != nil {
		return 0, 0, err
	}
	last, _ := possible.Last()
	cpu, err := cpulist.Parse(fmt.Sprint(observedCPU))
	if err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	tracer, err := trace.Open(trace.Config{CPUs: cpu, PossibleCPUs: last + 1})
	if err != nil {
		return 0, 0, err
	}
	attach = milliseconds(begin)
	begin = time.Now()
	err = tracer.Close()
	return attach, milliseconds(begin), err
}
