// SPDX-License-Identifier: Apache-2.0

// Package peers starts other observers of the kernel for what taskiso is
// compared in: how much they slow down, and how often they interrupt, the CPU
// that they observe. All are asked to record the same events of that CPU.
package peers

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Observer is a program that records what happens on a CPU until SIGINT.
type Observer struct {
	Name    string
	Command []string
	Env     []string
	// Syscalls returns how many system calls it recorded, from its directory.
	Syscalls func(dir string) (int, error)
}

// endTime is what an observer may take after SIGINT, to write what it recorded.
const endTime = 2 * time.Minute

// Syscalls, interrupts and context switches: what an observer of a CPU records.
//
// Interrupts by irq_work are not among them, because bpftrace wakes its reader by
// one: each that it recorded would make the next, for ever.
var events = []string{
	"raw_syscalls:sys_enter", "raw_syscalls:sys_exit", "irq_vectors:local_timer_entry", "irq_vectors:reschedule_entry",
	"irq_vectors:call_function_entry", "irq_vectors:call_function_single_entry", "sched:sched_switch",
}

// queued is the event of a function call that is sent to a CPU. It happens on
// another one, is recorded with the stack, and is not in all kernels.
const queued = "csd:csd_queue_cpu"

// Of returns the peers as observers of a CPU. Origins asks them for who sends
// function calls there as well.
func Of(cpu int, origins bool) []Observer {
	return []Observer{bpftrace(cpu, origins), perfTrace(cpu, origins), traceCmd(cpu, origins)}
}

func bpftrace(cpu int, origins bool) Observer {
	var script strings.Builder
	for _, e := range events {
		fmt.Fprintf(&script, "tracepoint:%s /cpu == %d/ { printf(\"%%s\\n\", probe) } ", e, cpu)
	}
	if origins {
		fmt.Fprintf(&script, "tracepoint:%s /args->cpu == %d/ { printf(\"%%s %%s\\n\", comm, kstack) }", queued, cpu)
	}
	return Observer{Name: "bpftrace", Command: []string{"bpftrace", "-e", script.String()}, Syscalls: Printed("bpftrace")}
}

func perfTrace(cpu int, origins bool) Observer {
	command := []string{"perf", "trace", "-o", "perf.txt", "-C", fmt.Sprint(cpu), "-e", strings.Join(events, ",")}
	if origins {
		// perf observes all CPUs for all of its events, or none of it.
		command = []string{"perf", "trace", "-o", "perf.txt", "-a", "-e", strings.Join(events, ",") + "," + queued + "/call-graph=fp/"}
	}
	return Observer{Name: "perf trace", Command: command, Syscalls: Printed("perf.txt")}
}

func traceCmd(cpu int, origins bool) Observer {
	command := []string{"trace-cmd", "record", "-q", "-o", "trace.dat"}
	for _, e := range events {
		command = append(command, "-e", e)
	}
	if origins {
		command = append(command, "-e", queued, "-f", fmt.Sprintf("cpu == %d", cpu), "-R", "stacktrace")
	} else {
		command = append(command, "-M", fmt.Sprintf("%x", 1<<cpu))
	}
	return Observer{Name: "trace-cmd", Command: command, Syscalls: func(dir string) (int, error) {
		out, err := exec.Command("trace-cmd", "report", "-i", filepath.Join(dir, "trace.dat")).Output()
		if err != nil {
			return 0, fmt.Errorf("reading what trace-cmd has recorded: %w", err)
		}
		return bytes.Count(out, []byte("sys_enter:")), nil
	}}
}

// Printed counts the system calls that an observer has written to a file. What
// it writes to standard output is in the file of its name.
func Printed(file string) func(dir string) (int, error) {
	return func(dir string) (int, error) {
		text, err := os.ReadFile(filepath.Join(dir, file))
		return bytes.Count(text, []byte("sys_enter")), err
	}
}

// During calls f while the observer, started attach before, is at work in
// directory dir, and returns how many system calls the observer recorded.
func (o Observer) During(dir string, attach time.Duration, f func()) (int, error) {
	if _, err := exec.LookPath(o.Command[0]); err != nil {
		return 0, fmt.Errorf("starting %s: %w", o.Name, err)
	}
	out, err := os.Create(filepath.Join(dir, o.Name))
	if err != nil {
		return 0, fmt.Errorf("starting %s: %w", o.Name, err)
	}
	defer out.Close()
	var complaints bytes.Buffer
	c := exec.Command(o.Command[0], o.Command[1:]...)
	c.Dir, c.Env, c.Stdout, c.Stderr = dir, append(os.Environ(), o.Env...), out, &complaints
	if err := c.Start(); err != nil {
		return 0, fmt.Errorf("starting %s: %w", o.Name, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	time.Sleep(attach)
	f()
	if err := end(c, ended); err != nil {
		return 0, fmt.Errorf("observing with %s: %w: %s", o.Name, err, bytes.TrimSpace(complaints.Bytes()))
	}
	n, err := o.Syscalls(dir)
	if err != nil {
		return 0, fmt.Errorf("%w; %s said: %q", err, o.Name, bytes.TrimSpace(complaints.Bytes()))
	}
	return n, nil
}

// end sends SIGINT and waits. Some take SIGINT for a failure.
func end(c *exec.Cmd, ended <-chan error) error {
	select {
	case err := <-ended:
		return fmt.Errorf("it ended by itself: %w", err)
	default:
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		return fmt.Errorf("interrupting it: %w", err)
	}
	select {
	case err := <-ended:
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return nil
		}
		return err
	case <-time.After(endTime):
		c.Process.Kill()
		<-ended
		return fmt.Errorf("it had not ended %v after SIGINT", endTime)
	}
}
