// SPDX-License-Identifier: Apache-2.0

// bench measures taskiso beside other tools, and makes the pages of what was
// measured: "go run ./bench NAME [flags]" in the root of the repository.
//
// Each measurement writes docs/bench/NAME.json. "bench page" makes docs/benchmarks*.md
// and their figures of these files.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/bench/attach"
	"github.com/taskiso/taskiso/bench/enter"
	"github.com/taskiso/taskiso/bench/faulting"
	"github.com/taskiso/taskiso/bench/gaps"
	"github.com/taskiso/taskiso/bench/load"
	"github.com/taskiso/taskiso/bench/page"
	"github.com/taskiso/taskiso/bench/posting"
	"github.com/taskiso/taskiso/bench/recording"
	"github.com/taskiso/taskiso/bench/slowdown"
)

// command is one subcommand.
type command struct {
	name, short string
	// define adds the flags and returns what to do once they are parsed.
	define func(*flag.FlagSet) func() error
	traced bool // its peers look for tracefs
	helper bool // started by another one
}

func commands() []command {
	return []command{
		{name: "noise", short: "gaps on a CPU, beside oslat, rtla, hwlatdetect and cyclictest", define: gaps.Define, traced: true},
		{name: "observers", short: "slowdown by observing, beside bpftrace, perf and trace-cmd", define: slowdown.Define, traced: true},
		{name: "load", short: "events at a high rate, losses and memory, beside the same", define: load.Define, traced: true},
		{name: "record", short: "bytes and processor time of recordings, beside trace-cmd and perf; time to read them", define: recording.Define, traced: true},
		{name: "open", short: "time until events are recorded, beside the same", define: attach.Define, traced: true},
		{name: "isolation", short: "cost of isolation for its task; on a CPU that is otherwise idle", define: enter.Define},
		{name: "deferral", short: "package deferral, beside liburcu; on two CPUs that are otherwise idle", define: posting.Define},
		{name: "pagefault", short: "cost of a watched page fault, beside perf", define: faulting.Define},
		{name: "page", short: "make docs/benchmarks*.md and its figures of docs/bench/*.json", define: page.Define},
		{name: gaps.Stress, define: gaps.DefineStress, helper: true},
		{name: load.Calls, define: load.DefineCalls, helper: true},
	}
}

// withTracefs is the helper that mounts tracefs before it runs another subcommand.
const withTracefs = "with-tracefs"

const tracefs = "/sys/kernel/tracing"

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench: ")
	if err := run(os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(args []string) error {
	mounted := len(args) > 0 && args[0] == withTracefs
	if mounted {
		args = args[1:]
		if err := unix.Mount("none", tracefs, "tracefs", 0, ""); err != nil {
			return fmt.Errorf("mounting tracefs for this program alone: %w", err)
		}
	}
	c, err := find(args)
	if err != nil {
		usage(os.Stderr)
		return err
	}
	flags := flag.NewFlagSet("bench "+c.name, flag.ExitOnError)
	do := c.define(flags)
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%s takes flags only, not %q", c.name, flags.Args())
	}
	log.SetPrefix("bench " + c.name + ": ")
	if c.traced && !mounted && !haveTracefs() {
		return again(args)
	}
	return do()
}

func find(args []string) (command, error) {
	if len(args) == 0 {
		return command{}, errors.New("which benchmark? give its name")
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c, nil
		}
	}
	return command{}, fmt.Errorf("%q is not a benchmark", args[0])
}

func usage(w io.Writer) {
	fmt.Fprintf(w, "usage: go run ./bench NAME [flags]\n\n")
	for _, c := range commands() {
		if !c.helper {
			fmt.Fprintf(w, "  %-10s %s\n", c.name, c.short)
		}
	}
	fmt.Fprintf(w, "\n\"go run ./bench NAME -h\" lists the flags of one.\n\n")
}

func haveTracefs() bool {
	_, err := os.Stat(filepath.Join(tracefs, "available_tracers"))
	return !errors.Is(err, fs.ErrNotExist)
}

// again runs this program in a mount namespace of its own, with tracefs: the mounts of
// the machine stay as they are.
func again(args []string) error {
	c := exec.Command("/proc/self/exe", append([]string{withTracefs}, args...)...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.SysProcAttr = &unix.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: unix.SIGTERM}
	err := c.Run()
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("making a mount namespace with tracefs: %w; run it as root: make bench-%s", err, args[0])
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		os.Exit(exit.ExitCode()) // which has printed why
	}
	return err
}
