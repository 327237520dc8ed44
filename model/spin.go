// SPDX-License-Identifier: Apache-2.0

package model

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Result is what one run found.
type Result struct {
	Run
	Got         Verdict
	States      int
	Transitions int
	Elapsed     time.Duration // of the verification, without compiling it
	Memory      int64         // largest resident set, bytes
	Trace       []Step        // of the counterexample, shortest
}

// OK reports whether the run found what it should.
func (r Result) OK() bool { return r.Got == r.Want }

// memoryLimit of one verification in MiB; two run at the same time.
const memoryLimit = 1900

// Do runs Spin in a temporary directory. source is the directory model/spin.
func (r Run) Do(ctx context.Context, source string) (Result, error) {
	result := Result{Run: r}
	dir, err := os.MkdirTemp("", "model")
	if err != nil {
		return result, fmt.Errorf("running %s: %w", r.Name, err)
	}
	defer os.RemoveAll(dir)
	s := spin{dir: dir, source: source, run: r}
	for _, step := range []func(context.Context, *Result) error{s.generate, s.compile, s.verify, s.replay} {
		if err := step(ctx, &result); err != nil {
			return result, fmt.Errorf("running %s: %w", r.Name, err)
		}
	}
	return result, nil
}

type spin struct {
	dir, source string
	run         Run
}

func (s spin) model() string { return filepath.Join(s.source, "defersync.pml") }

func (s spin) live() bool { return slices.Contains(s.run.Flags, live) }

func (s spin) command(ctx context.Context, name string, args ...string) (string, *os.ProcessState, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = s.dir
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		return "", nil, fmt.Errorf("starting %s: %w", name, err)
	}
	return string(out), cmd.ProcessState, nil
}

func (s spin) generate(ctx context.Context, _ *Result) error {
	out, state, err := s.command(ctx, "spin", append(slices.Clone(s.run.Flags), "-a", s.model())...)
	if err == nil && !state.Success() {
		err = fmt.Errorf("spin: %s", out)
	}
	return err
}

// compile builds the verifier: breadth first for a counterexample, so that the
// first one is a shortest one.
func (s spin) compile(ctx context.Context, _ *Result) error {
	args := []string{"-O2", "-w", "-DVECTORSZ=512", "-DMEMLIM=" + strconv.Itoa(memoryLimit), "-o", "pan", "pan.c"}
	switch {
	case s.live():
		args = append(args, "-DNFAIR=8")
	case s.run.Want == Holds:
		args = append(args, "-DSAFETY")
	default:
		args = append(args, "-DSAFETY", "-DBFS")
	}
	out, state, err := s.command(ctx, "gcc", args...)
	if err == nil && !state.Success() {
		err = fmt.Errorf("gcc: %s", out)
	}
	return err
}

func (s spin) verify(ctx context.Context, r *Result) error {
	args := []string{"-m2000000"}
	if s.live() {
		args = append(args, "-a", "-f")
	}
	start := time.Now()
	out, state, err := s.command(ctx, "./pan", args...)
	if err != nil {
		return err
	}
	r.Elapsed = time.Since(start)
	if usage, ok := state.SysUsage().(*syscall.Rusage); ok {
		r.Memory = usage.Maxrss << 10
	}
	return r.read(out)
}

var (
	statesLine      = regexp.MustCompile(`(?m)^\s*(\d+) states, stored`)
	transitionsLine = regexp.MustCompile(`(?m)^\s*(\d+) transitions`)
	errorsLine      = regexp.MustCompile(`errors: (\d+)`)
)

// read takes the verdict from the verifier's output. Everything unexpected is
// an error: a search that was cut short has proved nothing.
func (r *Result) read(out string) error {
	errors := errorsLine.FindStringSubmatch(out)
	for _, bad := range []string{"max search depth too small", "out of memory", "MEMLIM", "VECTORSZ"} {
		if strings.Contains(out, bad) {
			return fmt.Errorf("incomplete search: %s:\n%s", bad, out)
		}
	}
	if errors == nil {
		return fmt.Errorf("no result in the output of the verifier:\n%s", out)
	}
	if m := statesLine.FindStringSubmatch(out); m != nil {
		r.States, _ = strconv.Atoi(m[1])
	}
	if m := transitionsLine.FindStringSubmatch(out); m != nil {
		r.Transitions, _ = strconv.Atoi(m[1])
	}
	if errors[1] == "0" {
		r.Got = Holds
		return nil
	}
	for _, kind := range []struct {
		text    string
		verdict Verdict
	}{
		{"acceptance cycle", Liveness},
		{"invalid end state", Deadlock},
		{"reader_ptr", Freed}, {"freed", Freed},
		{"refs>0", Unknown},
		{"vt", Torn},
		{">=trusted", Stale},
		{"assertion violated 0", Late},
	} {
		if strings.Contains(firstLines(out), kind.text) {
			r.Got = kind.verdict
			return nil
		}
	}
	return fmt.Errorf("unknown violation:\n%s", out)
}

// firstLines is the part of the output that names the violation.
func firstLines(out string) string {
	head, _, _ := strings.Cut(out, "Full statespace search")
	if found, _, ok := strings.Cut(head, "(Spin Version"); ok {
		return found
	}
	return head
}

// replay turns a counterexample into steps.
func (s spin) replay(ctx context.Context, r *Result) error {
	if r.Got == Holds || s.live() {
		return nil
	}
	out, _, err := s.command(ctx, "spin", append(slices.Clone(s.run.Flags), "-t", "-k", filepath.Join(s.dir, "defersync.pml.trail"), s.model())...)
	if err != nil {
		return err
	}
	if r.Trace = parseTrace(out); len(r.Trace) == 0 {
		return fmt.Errorf("no steps in the counterexample:\n%s", out)
	}
	return nil
}
