// SPDX-License-Identifier: Apache-2.0

package faulting

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/taskiso/taskiso/pagefault"
)

// way is a way to watch a program. run returns how long a fault took it, and how many
// of them were lost.
type way struct {
	name string
	ours bool
	run  func() (ns float64, lost uint64, err error)
}

// reference is the way that the others are compared with.
const reference = "perf record -e page-faults -c 1, without addresses"

func waysToWatch(dir, program string) []way {
	watch := func(target func(int) pagefault.Target, o pagefault.Options) func() (float64, uint64, error) {
		return func() (float64, uint64, error) { return watched(program, target, o) }
	}
	alone := func(args ...string) func() (float64, uint64, error) {
		return func() (float64, uint64, error) { return unwatched(args...) }
	}
	perf := func(args ...string) func() (float64, uint64, error) {
		return alone(append(append([]string{"perf"}, args...), "--", program, "nothing")...)
	}
	data, text := filepath.Join(dir, "perf.data"), filepath.Join(dir, "perf.txt")
	return []way{
		{"unwatched", false, alone(program, "nothing")},
		{"unwatched, while another program is watched", true, func() (float64, uint64, error) { return besides(program) }},
		{"Watch, paused", true, watch(pagefault.Process, pagefault.Options{Paused: true})},
		{"Count", true, func() (float64, uint64, error) { return counted(program) }},
		{"perf stat -e page-faults:u", false, perf("stat", "-o", text, "-e", "page-faults:u")},
		{"Watch of a thread", true, watch(pagefault.Thread, pagefault.Options{})},
		{reference, false, perf("record", "-q", "-o", data, "-e", "page-faults", "-c", "1")},
		{"C, taskiso_pagefault_record, read in the same thread", true, alone(program, "record")},
		{"perf record -d -e page-faults -c 1", false, perf("record", "-q", "-d", "-o", data, "-e", "page-faults", "-c", "1")},
		{"Watch of a process", true, watch(pagefault.Process, pagefault.Options{})},
		{"Watch with ThreadStacks", true, watch(pagefault.Process, pagefault.Options{ThreadStacks: true})},
		{"Watch with Durations", true, watch(pagefault.Process, pagefault.Options{Durations: true})},
		{"Watch with Stack", true, watch(pagefault.Process, pagefault.Options{Stack: true})},
		{"C, taskiso_pagefault_watch: a handler in the thread", true, alone(program, "handler")},
		{"perf trace -F all --no-syscalls", false, perf("trace", "-F", "all", "--no-syscalls", "-o", text)},
	}
}

// load is a program that makes page faults and says how long one took.
type load struct {
	command *exec.Cmd
	begin   io.WriteCloser
	out     bytes.Buffer
}

const loadFaults = 200_000

func startLoad(args ...string) (*load, error) {
	l := &load{command: exec.Command(args[0], append(args[1:], strconv.Itoa(loadFaults))...)}
	l.command.Stdout = &l.out
	var err error
	if l.begin, err = l.command.StdinPipe(); err != nil {
		return nil, err
	}
	return l, l.command.Start()
}

// run lets it begin and returns nanoseconds per fault.
func (l *load) run() (float64, error) {
	if _, err := l.begin.Write([]byte("\n")); err != nil {
		return 0, fmt.Errorf("letting %v begin: %w", l.command, err)
	}
	if err := l.command.Wait(); err != nil {
		return 0, fmt.Errorf("running %v: %w", l.command, err)
	}
	return strconv.ParseFloat(strings.TrimSpace(l.out.String()), 64)
}

// ready is how long a tool gets until the load, which waits, begins.
const ready = time.Second

func unwatched(args ...string) (float64, uint64, error) {
	l, err := startLoad(args...)
	if err != nil {
		return 0, 0, err
	}
	time.Sleep(ready)
	ns, err := l.run()
	return ns, 0, err
}

func besides(program string) (float64, uint64, error) {
	w, err := pagefault.Watch(pagefault.Process(0), pagefault.Options{})
	if err != nil {
		return 0, 0, err
	}
	defer w.Close()
	return unwatched(program, "nothing")
}

func watched(program string, target func(pid int) pagefault.Target, o pagefault.Options) (float64, uint64, error) {
	l, err := startLoad(program, "nothing")
	if err != nil {
		return 0, 0, err
	}
	w, err := pagefault.Watch(target(l.command.Process.Pid), o)
	if err != nil {
		return 0, 0, err
	}
	defer w.Close()
	read := make(chan uint64)
	go func() {
		n := uint64(0)
		for {
			if _, err := w.Read(); err != nil {
				read <- n
				return
			}
			n++
		}
	}()
	ns, err := l.run()
	if err != nil {
		return 0, 0, err
	}
	n := <-read
	c, err := w.Counts()
	if err == nil && !o.Paused && n+c.Lost < loadFaults {
		err = fmt.Errorf("%d reported and %d lost of %d", n, c.Lost, loadFaults)
	}
	return ns, c.Lost, err
}

func counted(program string) (float64, uint64, error) {
	l, err := startLoad(program, "nothing")
	if err != nil {
		return 0, 0, err
	}
	c, err := pagefault.Count(pagefault.Process(l.command.Process.Pid), pagefault.Options{})
	if err != nil {
		return 0, 0, err
	}
	defer c.Close()
	ns, err := l.run()
	if err != nil {
		return 0, 0, err
	}
	n, err := c.Counts()
	if err == nil && n.Total() < loadFaults {
		err = fmt.Errorf("%+v of %d", n, loadFaults)
	}
	return ns, 0, err
}
