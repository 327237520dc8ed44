// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"time"

	"github.com/taskiso/taskiso/cpulist"
)

// Outcome is what became of an operation.
type Outcome string

// Values of Outcome.
const (
	Held     Outcome = "held"     // it waited; Reason says until when
	Denied   Outcome = "denied"   // it failed with EBUSY
	Reported Outcome = "reported" // it went on, as its policy says
	Allowed  Outcome = "allowed"  // it went on, as a rule says
	NotHeld  Outcome = "not held" // it went on, although its policy says otherwise; Reason says why
)

// Reasons why a held operation was released.
const (
	ByWindow  = "the window opened"
	ByWait    = "it had waited for as long as it may"
	ByHand    = "released by hand"
	ByEnd     = "the hold ended"
	ByDeath   = "its thread ended"
	ByAbsence = "it did not come back" // from the handler of a signal, or because another thread had done it
)

// exemption is enum exemption of bpf/hold.bpf.c.
type exemption uint32

const (
	exemptNot exemption = iota
	exemptReport
	exemptInit
	exemptHelper
	exemptWorker
	exemptTraced
	exemptCall
	exemptCompat
	exemptSignal
	exemptFull
	exemptSilence
	exemptChild
	exemptInitChild
)

var exemptions = map[exemption]string{
	exemptInit:      "process 1 is never held",
	exemptHelper:    "it descends from what the kernel started and waits for",
	exemptWorker:    "it comes from a worker thread of the kernel, as io_uring has them",
	exemptTraced:    "another process traces it",
	exemptCall:      "it comes by a system call that cannot be restarted for certain",
	exemptCompat:    "it comes from a 32-bit program",
	exemptSignal:    "it could not be stopped unseen in time",
	exemptFull:      "too many threads are held",
	exemptSilence:   "taskiso did not answer in time",
	exemptChild:     "it is the command that taskiso runs",
	exemptInitChild: "process 1 waits for it, and does nothing else",
}

// Record is what is to be said of one operation. It is a line of the output of
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
	Reason    string        `json:"reason,omitempty"`
	Held      time.Duration `json:"held_ns"`
	// Spared is the cause, in the catalogue, of the interruption of CPUs that did
	// not happen while it was held, or that did if it was not.
	Spared string      `json:"spared"`
	CPUs   cpulist.Set `json:"cpus"`
}
