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
	"regexp"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/report"
)

// Observer is a program that records what happens on a CPU until SIGINT.
type Observer struct {
	Name    string
	Command []string
	Env     []string
	CPU     int // that it observes
	// Recorded returns how many of an event it recorded, from its directory.
	Recorded func(dir string, e Event) (int, error)
	File     string   // in which it records
	List     []string // prints a line for each event in it
}

// Event is something that observers record, as they write it.
type Event string

const (
	SystemCall   Event = "sys_enter"     // entering any
	Getppid      Event = "getppid"       // entering this one, which hardly anybody else makes
	FunctionCall Event = "csd_queue_cpu" // sent to the CPU, with the sender's stack
)

// Want is what observers are to record beside the events themselves.
type Want struct {
	// Numbers is which system call was entered. All but bpftrace record that anyway, and
	// bpftrace 0.17 ends with SIGSEGV in a guest without a compiler's files when it is asked.
	Numbers bool
	// Origins is who sends function calls to the CPU.
	Origins bool
}

// endTime is what an observer may take after SIGINT, to write what it recorded.
const endTime = 2 * time.Minute

// Syscalls, interrupts and context switches: what an observer of a CPU records.
//
// Interrupts by irq_work are not among them, because bpftrace wakes its reader by
// one: each that it recorded would make the next, for ever.
var events = []string{
	entering, "raw_syscalls:sys_exit", "irq_vectors:local_timer_entry", "irq_vectors:reschedule_entry",
	"irq_vectors:call_function_entry", "irq_vectors:call_function_single_entry", "sched:sched_switch",
}

const entering = "raw_syscalls:sys_enter"

// queued is the event of a function call that is sent to a CPU. It happens on
// another one, is recorded with the stack, and is not in all kernels.
const queued = "csd:csd_queue_cpu"

// Taskiso returns a taskiso as an observer of a CPU.
func Taskiso(program string, cpu int) Observer {
	const file = "taskiso.json"
	return Observer{
		Name: "taskiso watch", CPU: cpu,
		Command:  []string{program, "watch", "-q", "-c", fmt.Sprint(cpu), "--report", file},
		Recorded: func(dir string, e Event) (int, error) { return reported(filepath.Join(dir, file), e) },
	}
}

// Report reads a report of taskiso.
func Report(file string) (*report.Report, error) {
	reports, err := report.ReadFiles([]string{file}, report.Read)
	if err != nil {
		return nil, err
	}
	return reports[0], nil
}

// reported counts what is in a report of taskiso.
func reported(file string, e Event) (int, error) {
	r, err := Report(file)
	if err != nil {
		return 0, err
	}
	n := uint64(0)
	for _, c := range r.CPUs[0].Causes {
		if c.ID == "syscall" && (e == SystemCall || e == Getppid && c.Detail == string(e)) {
			n += c.Count
		}
		for _, o := range c.Origins {
			if e == FunctionCall && o.Did == report.DidCall {
				n += o.Count
			}
		}
	}
	return int(n), nil
}

// Of returns the peers as observers of a CPU.
func Of(cpu int, w Want) []Observer {
	return []Observer{bpftrace(cpu, w), perfTrace(cpu, w), traceCmd(cpu, w)}
}

func bpftrace(cpu int, w Want) Observer {
	return Observer{Name: "bpftrace", CPU: cpu, Command: []string{"bpftrace", "-e", script(cpu, w)}, Recorded: Printed("bpftrace")}
}

// script is what bpftrace is asked to do.
func script(cpu int, w Want) string {
	var script strings.Builder
	for _, e := range events {
		what := `"%s\n", probe`
		if e == entering && w.Numbers {
			what = `"sys_enter: NR %d\n", args->id`
		}
		fmt.Fprintf(&script, "tracepoint:%s /cpu == %d/ { printf(%s) } ", e, cpu, what)
	}
	if w.Origins {
		fmt.Fprintf(&script, "tracepoint:%s /args->cpu == %d/ { printf(\"csd_queue_cpu %%s %%s\\n\", comm, kstack) }", queued, cpu)
	}
	return script.String()
}

func perfTrace(cpu int, w Want) Observer {
	command := []string{"perf", "trace", "-o", "perf.txt", "-C", fmt.Sprint(cpu), "-e", strings.Join(events, ",")}
	if w.Origins {
		// perf observes all CPUs for all of its events, or none of it.
		command = []string{"perf", "trace", "-o", "perf.txt", "-a", "-e", strings.Join(events, ",") + "," + queued + "/call-graph=fp/"}
	}
	return Observer{Name: "perf trace", CPU: cpu, Command: command, Recorded: Printed("perf.txt")}
}

func traceCmd(cpu int, w Want) Observer {
	command := []string{"trace-cmd", "record", "-q", "-o", "trace.dat"}
	for _, e := range events {
		command = append(command, "-e", e)
	}
	if w.Origins {
		command = append(command, "-e", queued, "-f", fmt.Sprintf("cpu == %d", cpu), "-R", "stacktrace")
	} else {
		command = append(command, "-M", fmt.Sprintf("%x", 1<<cpu))
	}
	return Observer{Name: "trace-cmd", CPU: cpu, Command: command, Recorded: func(dir string, e Event) (int, error) {
		out, err := exec.Command("trace-cmd", "report", "-i", filepath.Join(dir, "trace.dat")).Output()
		if err != nil {
			return 0, fmt.Errorf("reading what trace-cmd has recorded: %w", err)
		}
		return e.in(out), nil
	}}
}

// Once returns commands that attach to a CPU for the same events, end when the program
// at path has, which ends at once, and detach; by the names of their observers.
func Once(taskiso string, cpu int, path string) []Observer {
	perf := []string{"perf", "trace", "-o", "perf.txt", "-C", fmt.Sprint(cpu), "-e", strings.Join(events, ","), "--", path}
	return []Observer{
		{Name: "taskiso run", CPU: cpu, Command: []string{taskiso, "run", "-q", "-c", fmt.Sprint(cpu), "--", path}},
		{Name: "bpftrace", CPU: cpu, Command: []string{"bpftrace", "-c", path, "-e", script(cpu, Want{})}},
		{Name: "perf trace", CPU: cpu, Command: perf},
		{Name: "trace-cmd", CPU: cpu, Command: append(traceCmd(cpu, Want{}).Command, path)},
	}
}

// Printed counts the events that an observer has written to a file. What it writes to
// standard output is in the file of its name.
func Printed(file string) func(dir string, e Event) (int, error) {
	return func(dir string, e Event) (int, error) {
		text, err := os.ReadFile(filepath.Join(dir, file))
		return e.in(text), err
	}
}

// in counts the event in what a peer writes.
func (e Event) in(text []byte) int {
	if e != Getppid {
		return bytes.Count(text, []byte(e))
	}
	// perf and trace-cmd, and what bpftrace is asked to write.
	entered := regexp.MustCompile(fmt.Sprintf(`sys_enter(\(id:|: +NR) %d\b`, unix.SYS_GETPPID))
	return len(entered.FindAll(text, -1))
}

// Recording is what an observer has done.
type Recording struct {
	Events int
	Memory int64         // the most it had while it recorded, in bytes
	Time   time.Duration // of processors, until it had ended
}

// Start starts the command on other CPUs than the observed one: there bpftrace would record each write by which it tells
// what it recorded, for ever.
func (o Observer) Start(c *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := affinity.Of(0)
	if err != nil {
		return fmt.Errorf("asking for the affinity of %s: %w", o.Name, err)
	}
	observed, err := cpulist.New(o.CPU)
	if err == nil {
		err = affinity.Set(0, before.Minus(observed))
	}
	if err != nil {
		return fmt.Errorf("keeping %s off CPU %d: %w", o.Name, o.CPU, err)
	}
	err = c.Start()
	if err != nil {
		err = fmt.Errorf("starting %s: %w", o.Name, err)
	}
	return errors.Join(err, affinity.Set(0, before))
}

// During calls f while the observer, started attach before, is at work in
// directory dir, and returns how many of e the observer recorded.
func (o Observer) During(dir string, attach time.Duration, e Event, f func()) (Recording, error) {
	if _, err := exec.LookPath(o.Command[0]); err != nil {
		return Recording{}, fmt.Errorf("starting %s: %w", o.Name, err)
	}
	out, err := os.Create(filepath.Join(dir, o.Name))
	if err != nil {
		return Recording{}, fmt.Errorf("starting %s: %w", o.Name, err)
	}
	defer out.Close()
	var complaints bytes.Buffer
	c := exec.Command(o.Command[0], o.Command[1:]...)
	c.Dir, c.Env, c.Stdout, c.Stderr = dir, append(os.Environ(), o.Env...), out, &complaints
	if err := o.Start(c); err != nil {
		return Recording{}, err
	}
	peak := FollowMemory(c.Process.Pid)
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	time.Sleep(attach)
	f()
	memory := peak()
	if err := end(c, ended); err != nil {
		return Recording{}, fmt.Errorf("observing with %s: %w: %s", o.Name, err, bytes.TrimSpace(complaints.Bytes()))
	}
	n, err := o.Recorded(dir, e)
	if err != nil {
		return Recording{}, fmt.Errorf("%w; %s printed: %q", err, o.Name, bytes.TrimSpace(complaints.Bytes()))
	}
	return Recording{n, memory, c.ProcessState.UserTime() + c.ProcessState.SystemTime()}, nil
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
