// SPDX-License-Identifier: Apache-2.0

// Package loop is the busy loop: a process of its own that spins on each of some CPUs, and both sides of its protocol.
//
// The parent gives the process its settings as JSON in an argument, and reads from its standard output a line when all
// threads are on their CPUs, and another at the end: what each has seen. With Config.Shared the parent gives it memory
// for the records as well, and reads that at any time.
package loop

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/launch"
	"github.com/taskiso/taskiso/internal/noise"
	"github.com/taskiso/taskiso/internal/report"
)

// Name is what the process is run as. It spins on each CPU in a thread that
// makes no system call, and is started without Go's preemption signals and
// garbage collection, which would interrupt it.
const Name = "taskiso:loop"

// Threshold is the shortest gap the loop notes beside a tracer. A reading takes
// some 20 ns; entering and leaving the kernel about half a microsecond.
const Threshold = time.Microsecond

// Config are the settings of a loop.
type Config struct {
	CPUs      cpulist.Set   `json:"cpus"`
	Counter   noise.Counter `json:"counter"`
	Threshold time.Duration `json:"threshold_ns"`
	Priority  Priority      `json:"priority"`
	// Shared is true if the descriptor launch.FirstFile is memory for the records,
	// and that its reader begins and ends them. Start sets it.
	Shared bool `json:"shared,omitempty"`
	// Yields is true if the CPUs are emulated.
	Yields bool `json:"yields,omitempty"`
}

// Arguments returns those of the process, Name first.
func (cfg *Config) Arguments() ([]string, error) {
	config, err := json.Marshal(cfg)
	if err != nil {
		return nil, fmt.Errorf("instructing the busy loop: %w", err)
	}
	return []string{Name, string(config)}, nil
}

// Environment returns that of the process.
func Environment() []string { return append(os.Environ(), "GODEBUG=asyncpreemptoff=1", "GOGC=off") }

// IsLoop reports whether this process was started to be the busy loop.
func IsLoop() bool { return len(os.Args) == 2 && os.Args[0] == Name }

// exitFailed is the exit status of a loop that could not do its work.
const exitFailed = 125

// Main is the busy loop's main function. It runs until SIGTERM, or until
// nobody listens any more.
func Main() int {
	out := json.NewEncoder(os.Stdout)
	seen, used, err := spinUntilTold(os.Args[1], out)
	if err != nil {
		out.Encode(message{Error: err.Error()})
		return exitFailed
	}
	if err := out.Encode(message{Seen: seen, Used: used}); err != nil {
		return exitFailed
	}
	return 0
}

// message is a line of the loop's output: first that it spins, then what
// each CPU's loop has seen.
type message struct {
	Spinning bool          `json:"spinning,omitempty"`
	Seen     []report.Loop `json:"seen,omitempty"`
	Error    string        `json:"error,omitempty"`
	// Used is what the threads of the loops have used up while they spun.
	Used report.TaskUsage `json:"used"`
}

func spinUntilTold(config string, out *json.Encoder) (seen []report.Loop, used report.TaskUsage, err error) {
	var cfg Config
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		return nil, used, fmt.Errorf("parsing the settings of the busy loop: %w", err)
	}
	records, err := cfg.records()
	if err != nil {
		return nil, used, err
	}
	end := make(chan os.Signal, 2)
	signal.Notify(end, syscall.SIGTERM)
	go func() {
		waitUnread(os.Stdout.Fd())
		end <- syscall.SIGTERM
	}()

	// Each loop keeps a processor of Go's scheduler for good. By default there
	// are as many as housekeeping CPUs, perhaps one, and nothing else would run.
	runtime.GOMAXPROCS(len(records) + 2)

	pinned := make(chan error)
	each := make([]report.TaskUsage, len(records))
	var running sync.WaitGroup
	for i, cpu := range cfg.CPUs.Slice() {
		loop := noise.NewLoop(cfg.Counter, cfg.Threshold, records[i])
		loop.Timed = cfg.Shared // nobody else wants to know when
		loop.Yields = cfg.Yields
		running.Go(func() { each[i] = cfg.spin(cpu, loop, pinned) })
	}
	for range records {
		err = firstError(err, <-pinned)
	}
	if err == nil && !cfg.Shared {
		for _, r := range records {
			r.Begin()
		}
	}
	if err == nil {
		err = out.Encode(message{Spinning: true})
	}
	if err == nil {
		<-end
	}
	for _, r := range records {
		r.Stop()
	}
	running.Wait()
	for _, one := range each {
		used.Add(&one)
	}
	return cfg.seen(records), used, err
}

// records returns one for each CPU, all in memory already: what Go allocates is not until it is first written, and each
// page of it would be a break of the loop's own making.
func (cfg *Config) records() ([]*noise.Record, error) {
	if !cfg.Shared {
		own, err := noise.NewShared(cfg.CPUs.Len())
		if err != nil {
			return nil, err
		}
		return own.Records, nil
	}
	shared, err := noise.OpenShared(os.NewFile(launch.FirstFile, "records"))
	if err != nil {
		return nil, err
	}
	if len(shared.Records) != cfg.CPUs.Len() {
		return nil, fmt.Errorf("the busy loop has memory for %d records, and CPU %v", len(shared.Records), cfg.CPUs)
	}
	return shared.Records, nil
}

func (cfg *Config) seen(records []*noise.Record) []report.Loop {
	var seen []report.Loop
	var every uint64
	if cfg.Yields {
		every = noise.YieldEvery
	}
	for i, cpu := range cfg.CPUs.Slice() {
		s := records[i].State()
		seen = append(seen, report.Loop{CPU: cpu, Ran: s.Ran, Threshold: cfg.Threshold, Gaps: s.Count, Total: s.Total, Max: s.Max, YieldsEvery: every})
	}
	return seen
}

// waitUnread returns when nobody can read any more what is written to a pipe:
// whoever started the loop is gone, perhaps by SIGKILL.
func waitUnread(pipe uintptr) {
	fds := []unix.PollFd{{Fd: int32(pipe)}}
	for {
		if n, err := unix.Poll(fds, -1); n > 0 || !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func (cfg *Config) spin(cpu int, loop *noise.Loop, pinned chan<- error) (used report.TaskUsage) {
	runtime.LockOSThread() // never unlocked: the thread is not fit for anything else
	set, err := cpulist.New(cpu)
	if err == nil {
		err = affinity.Set(0, set)
	}
	if err == nil {
		err = cfg.Priority.apply()
	}
	pinned <- err
	if err != nil {
		return used
	}
	before := usedByThread()
	loop.Run()
	after := usedByThread()
	return *after.Since(&before)
}

// usedByThread is what the kernel accounts to this thread: not to what made it, nor to the rest of the runtime.
func usedByThread() report.TaskUsage {
	var ru syscall.Rusage
	const thisThread = 1 // RUSAGE_THREAD
	if err := syscall.Getrusage(thisThread, &ru); err != nil {
		return report.TaskUsage{} // no such call: there is nothing to report
	}
	return report.UsageOf(&ru)
}
