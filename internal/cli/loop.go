// SPDX-License-Identifier: Apache-2.0

package cli

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
	"github.com/taskiso/taskiso/internal/launch"
	"github.com/taskiso/taskiso/internal/noise"
	"github.com/taskiso/taskiso/internal/report"
)

// The busy loop is a process of its own. It spins on each CPU in a thread that
// makes no system call, and is started without Go's preemption signals and
// garbage collection, which would interrupt it.
const loopName = "taskiso:loop"

// loopThreshold is the shortest gap the loop notes beside a tracer. A reading takes
// some 20 ns; entering and leaving the kernel about half a microsecond.
const loopThreshold = time.Microsecond

// loopConfig is what the loop is told.
type loopConfig struct {
	CPUs      cpulist.Set   `json:"cpus"`
	Counter   noise.Counter `json:"counter"`
	Threshold time.Duration `json:"threshold_ns"`
	Priority  priority      `json:"priority"`
	// Shared tells that the descriptor launch.FirstFile is memory for the records,
	// and that its reader begins and ends them.
	Shared bool `json:"shared,omitempty"`
}

// IsLoop tells whether this process was started to be the busy loop.
func IsLoop() bool { return len(os.Args) == 2 && os.Args[0] == loopName }

func loopCommand(self string, cfg loopConfig, housekeeping cpulist.Set, results *os.File) (launch.Command, error) {
	config, err := json.Marshal(cfg)
	if err != nil {
		return launch.Command{}, fmt.Errorf("instructing the busy loop: %w", err)
	}
	return launch.Command{
		Path:   self,
		Args:   []string{loopName, string(config)},
		Env:    append(os.Environ(), "GODEBUG=asyncpreemptoff=1", "GOGC=off"),
		CPUs:   housekeeping,
		Stdout: results,

		IgnoreInterrupt: true,
	}, nil
}

// loopMessage is a line of the loop's output: first that it spins, then what
// each CPU's loop has seen.
type loopMessage struct {
	Spinning bool          `json:"spinning,omitempty"`
	Seen     []report.Loop `json:"seen,omitempty"`
	Error    string        `json:"error,omitempty"`
}

// Loop is the busy loop's main function. It runs until SIGTERM, or until
// nobody listens any more.
func Loop() int {
	out := json.NewEncoder(os.Stdout)
	seen, err := spinUntilTold(os.Args[1], out)
	if err != nil {
		out.Encode(loopMessage{Error: err.Error()})
		return exitFailed
	}
	if err := out.Encode(loopMessage{Seen: seen}); err != nil {
		return exitFailed
	}
	return 0
}

func spinUntilTold(config string, out *json.Encoder) ([]report.Loop, error) {
	var cfg loopConfig
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		return nil, fmt.Errorf("parsing what the busy loop was told: %w", err)
	}
	records, err := cfg.records()
	if err != nil {
		return nil, err
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
	var running sync.WaitGroup
	for i, cpu := range cfg.CPUs.Slice() {
		loop := noise.NewLoop(cfg.Counter, cfg.Threshold, records[i])
		loop.Timed = cfg.Shared // nobody else wants to know when
		running.Go(func() { cfg.spin(cpu, loop, pinned) })
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
		err = out.Encode(loopMessage{Spinning: true})
	}
	if err == nil {
		<-end
	}
	for _, r := range records {
		r.Stop()
	}
	running.Wait()
	return cfg.seen(records), err
}

// records returns one for each CPU, all in memory already: what Go allocates is not until it is first written, and each
// page of it would be a break of the loop's own making.
func (cfg *loopConfig) records() ([]*noise.Record, error) {
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

func (cfg *loopConfig) seen(records []*noise.Record) []report.Loop {
	var seen []report.Loop
	for i, cpu := range cfg.CPUs.Slice() {
		s := records[i].State()
		seen = append(seen, report.Loop{CPU: cpu, Ran: s.Ran, Threshold: cfg.Threshold, Gaps: s.Count, Total: s.Total, Max: s.Max})
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

func (cfg *loopConfig) spin(cpu int, loop *noise.Loop, pinned chan<- error) {
	runtime.LockOSThread() // never unlocked: the thread is not fit for anything else
	set, err := cpulist.New(cpu)
	if err == nil {
		err = launch.SetAffinity(0, set)
	}
	if err == nil {
		err = cfg.Priority.apply()
	}
	pinned <- err
	if err == nil {
		loop.Run()
	}
}

// loopOutput reads what the busy loop says.
type loopOutput struct{ in *json.Decoder }

// waitSpinning returns when every thread of the loop is on its CPU.
func (l loopOutput) waitSpinning() error {
	m, err := l.next()
	if err == nil && !m.Spinning {
		err = fmt.Errorf("unexpected message %+v", m)
	}
	if err != nil {
		return fmt.Errorf("starting the busy loop: %w", err)
	}
	return nil
}

func (l loopOutput) seen() ([]report.Loop, error) {
	m, err := l.next()
	if err != nil {
		return nil, fmt.Errorf("reading what the busy loop saw: %w", err)
	}
	return m.Seen, nil
}

func (l loopOutput) next() (loopMessage, error) {
	var m loopMessage
	if err := l.in.Decode(&m); err != nil {
		return m, err
	}
	if m.Error != "" {
		return m, fmt.Errorf("%s", m.Error)
	}
	return m, nil
}
