// SPDX-License-Identifier: Apache-2.0

package task

import (
	"fmt"
	"os"
)

// Verdict is the outcome of a command that ran to its end. Errors are apart: with one there is no verdict.
type Verdict struct {
	Outcome Outcome
	Status  int   // of the task, for CommandFailed: not 0
	Reason  error // of every other outcome but Passed
}

// Outcome is the kind of a verdict.
type Outcome int

// Outcomes. That a command failed comes before what was observed of it.
const (
	Passed        Outcome = iota
	CommandFailed         // the command itself ended with a status that is not 0
	Exceeded              // more was observed than was to be
	Violated              // a monitor was violated
	Unknown               // what was asked cannot be answered
)

// CommandVerdict returns that of a command that ended by itself, and false if it succeeded.
func CommandVerdict(state *os.ProcessState) (Verdict, bool) {
	code := ExitCode(state)
	return Verdict{Outcome: CommandFailed, Status: code}, code != 0
}

// Because returns a verdict with its reason.
func Because(outcome Outcome, format string, args ...any) Verdict {
	return Verdict{Outcome: outcome, Reason: fmt.Errorf(format, args...)}
}
