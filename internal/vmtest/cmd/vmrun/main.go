// SPDX-License-Identifier: Apache-2.0

// Command vmrun runs go test -json for tests in virtual machines and prints what go test would print, and then where
// the time went. With -n it does so several times, every second time beside a busy loop on each CPU of the host, and
// then prints how often each test failed.
//
//	vmrun [-n N] go test -json …
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"time"
)

func main() {
	n := flag.Int("n", 1, "run the tests `N` times, every second time beside a busy loop on each CPU")
	flag.Parse()
	ok, err := run(*n, flag.Args(), os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "vmrun:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// run reports whether the command succeeded each time.
func run(n int, command []string, out io.Writer) (bool, error) {
	if n < 1 || len(command) == 0 {
		return false, fmt.Errorf("running %q %d times: give a command, and one run or more", command, n)
	}
	ok, seen := true, newResults()
	for i := range n {
		passed, err := runOnce(command, i%2 == 1, seen, out)
		if err != nil {
			return false, err
		}
		ok = ok && passed
	}
	if n > 1 {
		return ok, seen.printTests(out)
	}
	err := seen.printTimes(out)
	seen.printFailures(out)
	return ok, err
}

func runOnce(command []string, beside bool, seen *results, out io.Writer) (bool, error) {
	if beside {
		defer burn()()
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return false, fmt.Errorf("creating a pipe for the results of %s: %w", cmd, err)
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return false, fmt.Errorf("starting %s: %w", cmd, err)
	}
	readErr := seen.read(events, out)
	_, _ = io.Copy(io.Discard, events) // else the command would wait for its reader for ever
	err = cmd.Wait()
	fmt.Fprintf(out, "%s after %v%s\n", ended(err), time.Since(begin).Round(time.Second), besideText(beside))
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return false, fmt.Errorf("running %s: %w", cmd, err)
	}
	return err == nil, readErr
}

func ended(err error) string {
	if err != nil {
		return "FAILED"
	}
	return "passed"
}

func besideText(beside bool) string {
	if beside {
		return ", beside a busy loop on each CPU"
	}
	return ""
}

// burn keeps all CPUs busy until it is told to stop.
func burn() (stop func()) {
	var over atomic.Bool
	for range runtime.NumCPU() {
		go func() {
			for !over.Load() {
			}
		}()
	}
	return func() { over.Store(true) }
}
