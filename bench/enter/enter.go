// SPDX-License-Identifier: Apache-2.0

// Package enter measures what isolation costs its task: "make bench-isolation".
package enter

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/taskiso/taskiso/bench/results"
)

const source = "bench/enter/c/isolation.c"

// Define adds the flags of the benchmark and returns what it does.
func Define(flags *flag.FlagSet) func() error {
	program := flags.String("taskiso", "bin/taskiso", "`PROGRAM` to measure")
	cpu := flags.String("cpu", "1", "`CPU` that nothing else uses")
	rounds := flags.Int("rounds", 5, "measure `N` times")
	out := flags.String("o", "docs/bench/isolation.json", "write what was measured to `FILE`")
	return func() error { return run(*program, *cpu, *out, *rounds) }
}

func run(program, cpu, out string, rounds int) error {
	dir, err := os.MkdirTemp("", "bench-isolation")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	task := filepath.Join(dir, "task")
	gcc := exec.Command("gcc", "-std=gnu11", "-Wall", "-Wextra", "-O2", "-falign-loops=64", "-Iinclude", "-o", task, source)
	if text, err := gcc.CombinedOutput(); err != nil {
		return fmt.Errorf("compiling %s: %w\n%s", source, err, text)
	}
	f, err := results.Describe("make bench-isolation")
	if err != nil {
		return err
	}
	measured := make(map[string][]float64)
	for round := range rounds {
		log.Printf("round %d of %d", round+1, rounds)
		if err := measure(measured, program, "run", "-q", "-c", cpu, "--isolable", cpu, "--settle", "10s", "--", task); err != nil {
			return err
		}
	}
	f.Busy = results.Load()
	row := func(name, key string, ours bool) results.Row {
		return results.Row{Name: name, Ours: ours, Values: [][]float64{measured[key]}}
	}
	f.Tables = []results.Table{
		{Name: "notified", Unit: "ns", Columns: []string{"system call to handler"}, Base: "signal to oneself (tgkill)", Rows: []results.Row{
			row("break (getppid)", "broken", true), row("signal to oneself (tgkill)", "own", false),
		}},
		{Name: "asking", Unit: "ns", Columns: []string{"a round"}, Base: "empty loop", Rows: []results.Row{
			row("taskiso_isolated()", "asking", true), row("empty loop", "empty", false),
		}},
		{Name: "calls", Unit: "ns", Columns: []string{"a call"}, Rows: []results.Row{
			row("entering, the CPU being quiet", "enter", true), row("leaving", "leave", true),
		}},
	}
	return f.Write(out)
}

// measure adds one round.
func measure(to map[string][]float64, name string, args ...string) error {
	c := exec.Command(name, args...)
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return fmt.Errorf("running %s: %w", strings.Join(c.Args, " "), err)
	}
	for line := range strings.Lines(string(out)) {
		var what string
		var ns float64
		if _, err := fmt.Sscan(line, &what, &ns); err != nil {
			return fmt.Errorf("reading %q: %w", line, err)
		}
		to[what] = append(to[what], ns)
	}
	return nil
}
