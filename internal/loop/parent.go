// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/launch"
	"github.com/taskiso/taskiso/internal/noise"
	"github.com/taskiso/taskiso/internal/report"
)

// Place is where a loop has what is not its loops: its runtime, and its memory.
type Place struct {
	CPUs   cpulist.Set   // of the runtime
	Cgroup string        // "" for the caller's
	Shared *noise.Shared // memory for the records; nil if the loop has them in its own
}

// Start starts a loop that waits for the Release of its process.
func Start(cfg Config, place Place) (*launch.Process, *Output, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("finding the program of the busy loop: %w", err)
	}
	cfg.Shared = place.Shared != nil
	args, err := cfg.Arguments()
	if err != nil {
		return nil, nil, err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("creating a pipe from the busy loop: %w", err)
	}
	command := launch.Command{
		Path:   self,
		Args:   args,
		Env:    Environment(),
		CPUs:   place.CPUs,
		Cgroup: place.Cgroup,
		Stdout: write,

		IgnoreInterrupt: true,
	}
	if place.Shared != nil {
		command.Files = []*os.File{place.Shared.File}
	}
	process, err := launch.Start(command)
	write.Close()
	if err != nil {
		read.Close()
		return nil, nil, err
	}
	return process, NewOutput(read), nil
}

// Output is what the busy loop writes.
type Output struct{ in *json.Decoder }

// NewOutput returns the output that is read from r.
func NewOutput(r io.Reader) *Output { return &Output{json.NewDecoder(r)} }

// WaitSpinning returns when every thread of the loop is on its CPU.
func (o *Output) WaitSpinning() error {
	m, err := o.next()
	if err == nil && !m.Spinning {
		err = fmt.Errorf("unexpected message %+v", m)
	}
	if err != nil {
		return fmt.Errorf("starting the busy loop: %w", err)
	}
	return nil
}

// Seen returns what the loop on each CPU has seen, and what all have used up, when they have ended.
func (o *Output) Seen() ([]report.Loop, report.TaskUsage, error) {
	m, err := o.next()
	if err != nil {
		return nil, report.TaskUsage{}, fmt.Errorf("reading what the busy loop saw: %w", err)
	}
	return m.Seen, m.Used, nil
}

func (o *Output) next() (message, error) {
	var m message
	if err := o.in.Decode(&m); err != nil {
		return m, err
	}
	if m.Error != "" {
		return m, fmt.Errorf("%s", m.Error)
	}
	return m, nil
}
