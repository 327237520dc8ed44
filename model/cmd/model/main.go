// SPDX-License-Identifier: Apache-2.0

// Model checks the deferral protocol with Spin and prints a table; see package
// model. It exits with 1 if a run found something else than it should.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/taskiso/taskiso/model"
)

func main() {
	o := options{}
	flag.StringVar(&o.source, "source", "model/spin", "directory of the Promela model")
	flag.StringVar(&o.traces, "traces", "", "directory to write counterexamples to")
	flag.StringVar(&o.only, "run", "", "only runs whose name matches this expression")
	flag.BoolVar(&o.install, "install", false, "install spin with apt-get if it is missing")
	flag.IntVar(&o.jobs, "j", 2, "runs at the same time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := o.check(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "model:", err)
		os.Exit(1)
	}
}

type options struct {
	source, traces, only string
	install              bool
	jobs                 int
}

func (o options) check(ctx context.Context) error {
	if err := o.needSpin(ctx); err != nil {
		return err
	}
	runs, err := o.selected()
	if err != nil {
		return err
	}
	start := time.Now()
	results, err := o.all(ctx, runs)
	if err != nil {
		return err
	}
	model.WriteTable(os.Stdout, results)
	wrong, memory := 0, int64(0)
	for _, r := range results {
		memory = max(memory, r.Memory)
		if !r.OK() {
			wrong++
		}
	}
	fmt.Printf("%d runs, %d wrong, %.0f s, largest %d MB\n", len(results), wrong, time.Since(start).Seconds(), memory>>20)
	if wrong > 0 {
		return fmt.Errorf("%d of %d runs found something else than they should", wrong, len(results))
	}
	return o.writeTraces(results)
}

func (o options) needSpin(ctx context.Context) error {
	_, err := exec.LookPath("spin")
	if err == nil {
		return nil
	}
	if !o.install {
		return fmt.Errorf("looking for spin: %w; install it, or use -install", err)
	}
	cmd := exec.CommandContext(ctx, "apt-get", "install", "-y", "--no-install-recommends", "spin")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("installing spin: %w", err)
	}
	return nil
}

func (o options) selected() ([]model.Run, error) {
	only, err := regexp.Compile(o.only)
	if err != nil {
		return nil, fmt.Errorf("reading -run: %w", err)
	}
	var runs []model.Run
	for _, r := range model.All() {
		if only.MatchString(r.Name) {
			runs = append(runs, r)
		}
	}
	if len(runs) == 0 {
		return nil, fmt.Errorf("no run matches %q", o.only)
	}
	return runs, nil
}

func (o options) all(ctx context.Context, runs []model.Run) ([]model.Result, error) {
	source, err := filepath.Abs(o.source)
	if err != nil {
		return nil, err
	}
	results := make([]model.Result, len(runs))
	errs := make([]error, len(runs))
	next := make(chan int)
	var wg sync.WaitGroup
	for range o.jobs {
		wg.Go(func() {
			for i := range next {
				results[i], errs[i] = runs[i].Do(ctx, source)
			}
		})
	}
	for i := range runs {
		next <- i
	}
	close(next)
	wg.Wait()
	return results, errors.Join(errs...)
}

func (o options) writeTraces(results []model.Result) error {
	if o.traces == "" {
		return nil
	}
	if err := os.MkdirAll(o.traces, 0o755); err != nil {
		return fmt.Errorf("writing traces: %w", err)
	}
	index, err := os.Create(filepath.Join(o.traces, "README.md"))
	if err != nil {
		return fmt.Errorf("writing traces: %w", err)
	}
	defer index.Close()
	fmt.Fprint(index, "# Counterexamples\n\nWritten by `make model-traces`; do not edit. Each drops one constraint of\n[docs/design/05](../design/05-deferred-synchronisation.md), or is a version as once published.\n\n| trace | constraint | found | why |\n|---|---|---|---|\n")
	for _, r := range results {
		if len(r.Trace) == 0 {
			continue
		}
		fmt.Fprintf(index, "| [%s](%s.md) | %s | %s | %s |\n", r.Name, r.Name, r.Constraint, r.Got, r.Why)
		if err := writeTrace(filepath.Join(o.traces, r.Name+".md"), r); err != nil {
			return fmt.Errorf("writing traces: %w", err)
		}
	}
	return index.Close()
}

func writeTrace(path string, r model.Result) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(model.WriteTrace(f, r), f.Close())
}
