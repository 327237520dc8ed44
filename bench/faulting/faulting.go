// SPDX-License-Identifier: Apache-2.0

// Package faulting measures what a watched page fault takes from the thread that has it, beside
// perf's tools: "make bench-pagefault".
package faulting

import (
	"errors"
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

	"github.com/taskiso/taskiso/bench/results"
	"github.com/taskiso/taskiso/pagefault"
)

const sources = "bench/faulting/c"

// Define adds the flags of the benchmark and returns what it does.
func Define(flags *flag.FlagSet) func() error {
	rounds := flags.Int("rounds", 9, "measure each `N` times, in turns")
	out := flags.String("o", "docs/bench/pagefault.json", "write what was measured to `FILE`")
	return func() error { return run(*out, *rounds) }
}

func run(out string, rounds int) error {
	dir, err := os.MkdirTemp("", "bench-pagefault")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program, err := compile(dir, "load")
	if err != nil {
		return err
	}
	fields, err := compile(dir, "fields")
	if err != nil {
		return err
	}
	f, err := results.Describe("make bench-pagefault")
	if err != nil {
		return err
	}
	f.Peers, f.Missing = results.Versions("linux-perf"), make(map[string]string)
	cost, lost := results.Table{Name: "cost", Unit: "ns", Columns: []string{"more", "in all"}, Base: reference}, results.Table{Name: "lost", Columns: []string{"faults lost in a run"}}
	parts := results.Table{Name: "fields", Unit: "ns", Columns: []string{"more"}, Base: "instruction, thread, time (perf record)"}
	switching := results.Table{Name: "switching", Unit: "ns", Columns: []string{"both"}}
	ways := waysToWatch(dir, program)
	for round := range rounds {
		log.Printf("round %d of %d", round+1, rounds)
		if err := measureWays(ways, &cost, &lost, f.Missing); err != nil {
			return err
		}
		if err := measureFields(fields, &parts); err != nil {
			return err
		}
		if err := measureSwitching(&switching); err != nil {
			return err
		}
	}
	f.Tables = []results.Table{cost, lost, parts, switching}
	return f.Publish(os.Stdout, out)
}

func compile(dir, name string) (string, error) {
	program := filepath.Join(dir, name)
	source := filepath.Join(sources, name+".c")
	gcc := exec.Command("gcc", "-O2", "-Wno-unused-function", "-Iinclude", "-o", program, source)
	if text, err := gcc.CombinedOutput(); err != nil {
		return "", fmt.Errorf("compiling %s: %w\n%s", source, err, text)
	}
	return program, nil
}

// measureWays has all ways take a turn. What a way takes more is relative to the same
// turn unwatched.
func measureWays(ways []way, cost, lost *results.Table, missing map[string]string) error {
	unwatched := 0.0
	for i, w := range ways {
		if missing[w.name] != "" {
			continue
		}
		ns, n, err := w.run()
		if err != nil && i == 0 {
			return err
		}
		if err != nil {
			missing[w.name] = err.Error()
			continue
		}
		if i == 0 {
			unwatched = ns
		}
		cost.Add(w.name, w.ours, ns-unwatched, ns)
		if w.ours {
			lost.Add(w.name, true, float64(n))
		}
	}
	return nil
}

// turns is how often each way of fields.c has a turn, of which the median counts.
const turns = 100

// measureFields measures what the kernel takes for each field of a sample, without a
// reader.
func measureFields(program string, t *results.Table) error {
	text, err := exec.Command(program, strconv.Itoa(turns)).Output()
	if err != nil {
		return fmt.Errorf("measuring the fields of a sample: %w", err)
	}
	without := 0.0
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		value, name, _ := strings.Cut(line, "\t")
		ns, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return fmt.Errorf("reading %q: %w", line, err)
		}
		if i == 0 {
			without = ns
			continue
		}
		t.Add(name, false, ns-without)
	}
	return nil
}

// switched is how often something is switched off and on.
const switched = 10_000

// measureSwitching measures, for one thread, saying that faults do not matter now, and
// taking it back.
func measureSwitching(t *results.Table) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	w, err := pagefault.Watch(pagefault.Thread(0), pagefault.Options{})
	if err != nil {
		return err
	}
	defer w.Close()
	begin := time.Now()
	for range switched {
		if err := errors.Join(w.Pause(), w.Resume()); err != nil {
			return err
		}
	}
	t.Add("Watcher.Pause and Resume", true, float64(time.Since(begin).Nanoseconds())/switched)
	n, err := pagefault.NotifyOn(0, unix.SIGURG, pagefault.NotifyOptions{}) // which Go programs do not mind
	if err != nil {
		return err
	}
	defer n.Close()
	begin = time.Now()
	for range switched {
		if err := errors.Join(n.ExpectNone(), n.ExpectSome()); err != nil {
			return err
		}
	}
	t.Add("Notifier.ExpectNone and ExpectSome", true, float64(time.Since(begin).Nanoseconds())/switched)
	return nil
}
