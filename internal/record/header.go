// SPDX-License-Identifier: Apache-2.0

package record

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/noise"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/topology"
)

// Header is what is known when a recording begins.
type Header struct {
	Version string        `json:"taskiso"`
	Arch    string        `json:"arch"` // as Go names it: system calls have other numbers on each
	Host    topology.Host `json:"host"`
	// CPUs are observed; with none, the watched threads wherever they run.
	CPUs     cpulist.Set `json:"cpus"`
	NohzFull cpulist.Set `json:"nohz_full"`
	// Kinds names the kinds of events by their numbers in this recording.
	Kinds   []event.Kind `json:"kinds"`
	Sources []Source     `json:"sources"`
	// Symbols is why kernel functions have no names; "" if they have.
	Symbols  string         `json:"symbols_missing,omitempty"`
	Devices  map[int]string `json:"devices"` // by interrupt
	Monitors []Monitor      `json:"monitors,omitempty"`
	// What a report begins with.
	Started time.Time   `json:"started"`
	Task    report.Task `json:"task"`
	Limits  []string    `json:"limits"`
	Part    *Part       `json:"part,omitempty"` // nil: the recording is whole
	// Noise is there if a measurement of noise was recorded.
	Noise *noise.Start `json:"noise,omitempty"`
	// Hold tells that a hold was recorded, and nothing observed.
	Hold bool `json:"hold,omitempty"`
}

// Source is a tracepoint or kprobe, and whether the recorder could use it.
type Source struct {
	Name      string       `json:"name"`
	Kind      event.Kind   `json:"kind"`
	Also      []event.Kind `json:"also,omitempty"` // other kinds that it shows
	Shows     string       `json:"shows"`
	Missing   string       `json:"missing,omitempty"` // why
	InPlaceOf string       `json:"in_place_of,omitempty"`
}

// Monitor is an automaton with its text.
type Monitor struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// kinds returns all kinds by number.
func kinds() []event.Kind {
	all := []event.Kind{0} // no kind has this number
	return slices.AppendSeq(all, event.Kinds())
}

// End is the end of a recording.
type End struct {
	Ending Ending `json:"ending"`
	// Report is the one of the run, and OwnLimits which of its limits came from the observation: the first of them, and the first after.
	// What is not observed, such as how the task ended, is known only from it.
	Report    *report.Report `json:"report"`
	OwnLimits [2]int         `json:"own_limits"`
	// Noise is there if a measurement of noise was recorded.
	Noise *noise.End `json:"noise,omitempty"`
	// HoldLimits are what a hold could not do.
	HoldLimits []string `json:"hold_limits,omitempty"`
}

// Ending is what is known when a recording ends.
type Ending struct {
	WarmUp time.Duration `json:"warm_up_ns"`
	Counts []CPUCounts   `json:"counts"`
	// MissedOf counts by kind the events that no program saw, and Missed is their sum.
	MissedOf  map[event.Kind]uint64 `json:"missed_of,omitempty"`
	Missed    uint64                `json:"missed"`
	Children  uint64                `json:"unwatched_children"`
	Spinning  string                `json:"spinning_missing,omitempty"` // why threads in user mode could not be looked for
	Elsewhere []report.Elsewhere    `json:"elsewhere,omitempty"`
	// Before and After are the kernel's own counts at both ends.
	Before Interrupts `json:"interrupts_before"`
	After  Interrupts `json:"interrupts_after"`
	Files  Files      `json:"files"` // the settings of the machine that matter to causes
	// Unended stands for all this where a recording has no end.
	Unended bool `json:"-"`
}

// CPUCounts is what was counted of one CPU.
type CPUCounts struct {
	CPU       int                   `json:"cpu"`
	Seen      map[event.Kind]uint64 `json:"seen"` // by kind
	Lost      map[event.Kind]uint64 `json:"lost,omitempty"`
	Preempted uint64                `json:"preempted"`
}

// Interrupts is /proc/interrupts, with the events counted immediately before and after it was read.
type Interrupts struct {
	Kernel topology.Table                `json:"kernel"`
	Before map[int]map[event.Kind]uint64 `json:"seen_before"` // by CPU and kind
	After  map[int]map[event.Kind]uint64 `json:"seen_after"`
	Exact  bool                          `json:"exact"` // nothing came while they were read
}

// marshal writes JSON that a reader takes.
func marshal(from any, what string) ([]byte, error) {
	text, err := json.Marshal(from)
	if err == nil && (len(text) > maxContent || !isAffordable(text)) {
		err = errMany
	}
	if err != nil {
		return nil, fmt.Errorf("writing the %s of a recording: %w", what, err)
	}
	return text, nil
}

// unmarshal reads JSON. Its errors have no words of the library.
func unmarshal(text []byte, to any, what string) error {
	if !isAffordable(text) {
		return fmt.Errorf("%w: its %s is too large", ErrFormat, what)
	}
	if err := json.Unmarshal(text, to); err != nil {
		return fmt.Errorf("%w: its %s is not what a %s has", ErrFormat, what, what)
	}
	return nil
}
