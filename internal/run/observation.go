// SPDX-License-Identifier: Apache-2.0

// Package run is the engine of run and watch: an observation with everything around it, from a Config to a report and a
// verdict. It knows no flags and no exit statuses.
package run

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/budget"
	"github.com/taskiso/taskiso/internal/monitor"
	"github.com/taskiso/taskiso/internal/noise"
	"github.com/taskiso/taskiso/internal/observe"
	"github.com/taskiso/taskiso/internal/output"
	"github.com/taskiso/taskiso/internal/place"
	"github.com/taskiso/taskiso/internal/record"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/seccomp"
	"github.com/taskiso/taskiso/internal/session"
)

// Config is what all observations have.
type Config struct {
	Console  output.Console
	Files    fs.FS
	Version  string // of taskiso
	Target   place.Target
	Duration time.Duration // from the end of the warm-up; 0 for no end
	WarmUp   time.Duration
	Apart    bool // the CPUs are set apart for this run
	Buffer   int  // bytes for the events of each CPU; 0 for the usual

	Monitors  []*monitor.Monitor
	MaxBreaks *uint64        // nil if any number will do
	Budget    *budget.Budget // nil for none
	// AcceptLowerBound lets MaxBreaks be kept also where nothing reports every break.
	AcceptLowerBound bool
	Output           OutputConfig
	Flight           *FlightConfig // nil for none
}

// Warnings is where what can be done without is reported.
func (c Config) Warnings() io.Writer {
	if c.Output.Quiet {
		return io.Discard
	}
	return c.Console.Stderr
}

// Observation is one run of an observer with everything around it.
type Observation struct {
	Report  report.Report
	Signals chan os.Signal // to taskiso

	cfg      Config
	out      *Output           // nil if the report is not published
	tape     *record.File      // nil if nothing is recorded
	loops    *noise.Start      // a measurement of noise that is recorded with it, or nil
	observer *observe.Observer // nil if this kernel or these privileges allow none
	why      error             // the reason then
	counters *observe.Counters // instead of the observer, for a task of ours
	recorder *recorder         // nil if there is no flight recorder
	system   systemCounts
	progress *output.Progress
	aside    *aside      // nil if taskiso keeps off certain CPUs for good
	alive    func() bool // whether what is watched is still there; nil for a task of ours

	isolable  cpulist.Set // CPUs on which a thread of a command may be isolated
	settle    time.Duration
	isolating *isolating      // nil if no calls for isolation are answered
	arming    *session.Arming // nil if no thread is isolated unasked
	armingErr error

	hold  *Hold // nil if nothing is held
	gate  *Gate // nil if calls for isolation do not matter to it
	holds HoldLog
}

// Sees reports whether kernel entries are seen.
func (o *Observation) Sees() bool { return o.observer != nil }

// Began returns when the observation began, or is to begin, if kernel entries are seen.
func (o *Observation) Began() time.Duration { return o.observer.Began() }

// nextStep returns what a user can do about a missing observer.
func nextStep(why error) string {
	if errors.Is(why, fs.ErrPermission) {
		return "run as root or with CAP_BPF, CAP_PERFMON and CAP_SYSLOG; \"taskiso doctor\" has details"
	}
	return "\"taskiso doctor\" has details"
}

// isolating is the answering of a command's calls for isolation.
type isolating struct {
	listener   *seccomp.Listener
	supervisor *session.Supervisor
	served     chan error
}
