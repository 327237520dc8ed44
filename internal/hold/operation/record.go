// SPDX-License-Identifier: Apache-2.0

// Package operation is what a hold records of the operations of others: it is part of reports, and needs nothing that holds.
package operation

import (
	"fmt"
	"strings"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/printable"
)

// Outcome is what became of an operation: a code.
type Outcome string

// Values of Outcome.
const (
	Held     Outcome = "held"     // it waited; Reason is why it was released
	Denied   Outcome = "denied"   // it failed with EBUSY
	Reported Outcome = "reported" // it went on, by its policy
	Allowed  Outcome = "allowed"  // it went on, by a rule
	NotHeld  Outcome = "not_held" // it went on against its policy; Reason is why
)

// String returns the outcome in words.
func (o Outcome) String() string { return strings.ReplaceAll(string(o), "_", " ") }

// Reason is why a held operation was released, or why one was not held: a code.
type Reason string

// Values of Reason of an operation that was held.
const (
	ByWindow  Reason = "window"
	ByWait    Reason = "max_wait"
	ByHand    Reason = "hand"
	ByEnd     Reason = "hold_ended"
	ByDeath   Reason = "thread_ended"
	ByAbsence Reason = "absent" // from the handler of a signal, or because another thread had done it
)

// Values of Reason of an operation that was not held.
const (
	ByInit      Reason = "init"
	ByHelper    Reason = "kernel_helper"
	ByWorker    Reason = "kernel_worker"
	ByTracer    Reason = "traced"
	ByCall      Reason = "call"
	ByCompat    Reason = "compat"
	BySignal    Reason = "signal"
	ByLimit     Reason = "full"
	BySilence   Reason = "silence"
	ByChild     Reason = "child"
	ByInitChild Reason = "init_child"
	ByOwner     Reason = "isolated_program"
	ByRefusal   Reason = "untraceable"
)

var reasonWords = map[Reason]string{
	ByWindow:  "the window opened",
	ByWait:    "it had waited for as long as it may",
	ByHand:    "released by hand",
	ByEnd:     "the hold ended",
	ByDeath:   "its thread ended",
	ByAbsence: "it did not come back",

	ByInit:      "process 1 is never held",
	ByHelper:    "it descends from what the kernel started and waits for",
	ByWorker:    "it comes from a worker thread of the kernel, as io_uring has them",
	ByTracer:    "another process traces it",
	ByCall:      "it comes by a system call that cannot be restarted for certain",
	ByCompat:    "it comes from a 32-bit program",
	BySignal:    "it could not be stopped unseen in time",
	ByLimit:     "too many threads are held",
	BySilence:   "taskiso did not answer in time",
	ByChild:     "it is the command that taskiso runs",
	ByInitChild: "process 1 waits for it, and does nothing else",
	ByOwner:     "it belongs to the isolated program",
	ByRefusal:   "its thread cannot be stopped as a debugger does",
}

// String returns the reason in words. A reason that is not a code is in words already: records had words until schema 2.
func (r Reason) String() string {
	if words, ok := reasonWords[r]; ok {
		return words
	}
	return string(r)
}

// Record describes one operation. It is a line of the output of
// `taskiso hold --json`, and part of reports: a contract, described by
// docs/hold.schema.json.
type Record struct {
	ID        uint64        `json:"id"`
	Time      time.Time     `json:"time"` // when it came
	PID       int           `json:"pid"`
	TID       int           `json:"tid"`
	Command   string        `json:"command"` // name of the thread
	UID       uint32        `json:"uid"`
	Cgroup    string        `json:"cgroup,omitempty"`
	Operation string        `json:"operation"`
	Detail    string        `json:"detail,omitempty"`
	Outcome   Outcome       `json:"outcome"`
	Reason    Reason        `json:"reason,omitempty"`
	Error     string        `json:"error,omitempty"` // the error of the kernel, if that is the reason
	Held      time.Duration `json:"held_ns"`
	// Spared is the cause, in the catalogue, of the interruption of CPUs that did
	// not happen while it was held, or that did if it was not.
	Spared string      `json:"spared"`
	CPUs   cpulist.Set `json:"cpus"`
}

// String returns the record as one line.
func (r Record) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s %s", r.Time.Format("15:04:05.000"), r.Operation, r.Outcome)
	if r.Outcome == Held || r.Held > 0 {
		fmt.Fprintf(&b, " for %v", r.Held.Round(100*time.Microsecond))
	}
	fmt.Fprintf(&b, ": %s (%s)", printable.Text(r.Command), r.who())
	if r.Detail != "" {
		fmt.Fprintf(&b, ": %s", printable.Text(r.Detail))
	}
	if r.Reason != "" {
		fmt.Fprintf(&b, "; %s", r.Reason)
	}
	if r.Error != "" {
		fmt.Fprintf(&b, " (%s)", r.Error)
	}
	fmt.Fprintf(&b, "; %s", r.consequence())
	return b.String()
}

func (r Record) who() string {
	if r.TID != r.PID {
		return fmt.Sprintf("process %d, thread %d, uid %d", r.PID, r.TID, r.UID)
	}
	return fmt.Sprintf("process %d, uid %d", r.PID, r.UID)
}

// consequence names the interruption that was prevented, or not. An operation that was held and then
// released by time or by hand can interrupt the CPUs after all.
func (r Record) consequence() string {
	switch r.Outcome {
	case Held:
		return fmt.Sprintf("prevented %s on CPU %v until then", r.Spared, r.CPUs)
	case Denied:
		return fmt.Sprintf("prevented %s on CPU %v", r.Spared, r.CPUs)
	}
	return fmt.Sprintf("%s on CPU %v not prevented", r.Spared, r.CPUs)
}
