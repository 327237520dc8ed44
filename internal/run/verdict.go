// SPDX-License-Identifier: Apache-2.0

package run

import (
	"fmt"
	"os"
	"strings"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/budget"
	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/task"
)

// verdict returns what the run came to. ended: by us.
func (o *Observation) verdict(t *Task, state *os.ProcessState, ended bool, judged *budget.Result) task.Verdict {
	switch v, failed := task.CommandVerdict(state); {
	case ended:
	case t.Loop != nil: // by somebody else, with any status
		return task.Because(task.Unknown, "the busy loop was ended: %v", state)
	case failed:
		return v
	}
	return o.ownVerdict(judged)
}

// ownVerdict returns what the observation itself came to.
func (o *Observation) ownVerdict(judged *budget.Result) task.Verdict {
	for _, v := range []task.Verdict{o.breaksVerdict(), budgetVerdict(judged)} {
		if v.Outcome != task.Passed {
			return v
		}
	}
	return o.monitorsVerdict()
}

// judged is what became of the budget, nil if there is none.
func (o *Observation) judged() *budget.Result {
	if o.cfg.Budget == nil {
		return nil
	}
	result := budget.Sum(o.cfg.Version, o.cfg.Budget.Judge("", &o.Report))
	return &result
}

func budgetVerdict(judged *budget.Result) task.Verdict {
	switch {
	case judged == nil || judged.Verdict == budget.Met:
		return task.Verdict{}
	case judged.Verdict == budget.Exceeded:
		return task.Because(task.Exceeded, "%s", judged.Summary())
	}
	return task.Because(task.Unknown, "%s", judged.Summary())
}

// monitorsVerdict prefers a violation to what is not known.
func (o *Observation) monitorsVerdict() task.Verdict {
	var unknown task.Verdict
	for _, m := range o.Report.Monitors {
		switch m.Verdict {
		case report.MonitorViolated:
			return task.Because(task.Violated, "%s violated %d times on CPU %d", m.Monitor, m.Violations, m.CPU)
		case report.MonitorUnknown:
			unknown = task.Because(task.Unknown, "%s cannot be judged on CPU %d: %s", m.Monitor, m.CPU, strings.Join(m.Reasons, "; "))
		}
	}
	if why := o.Report.Unjudged(); len(o.Report.Monitors) == 0 && len(o.cfg.Monitors) > 0 {
		return task.Because(task.Unknown, "--monitor cannot be judged: %s", why)
	}
	return unknown
}

func (o *Observation) breaksVerdict() task.Verdict {
	if o.cfg.MaxBreaks == nil {
		return task.Verdict{}
	}
	limit := *o.cfg.MaxBreaks
	var breaks uint64
	for _, c := range o.Report.CPUs {
		breaks += c.Breaks
	}
	if breaks > limit {
		return task.Because(task.Exceeded, "%d breaks, more than --max-breaks %d", breaks, limit)
	}
	if why := o.unjudged(breaks); why != "" {
		return task.Because(task.Unknown, "--max-breaks %d cannot be judged: %s", limit, why)
	}
	return task.Verdict{}
}

// unjudged says why there may have been more breaks than were seen, "" if there were not, or that is accepted.
func (o *Observation) unjudged(breaks uint64) string {
	r := &o.Report
	if o.cfg.AcceptLowerBound {
		return r.Unjudged(report.DoubtUntracked)
	}
	why := r.Unjudged()
	cpus, err := cpulist.New(r.LowerBound()...)
	if cpus.IsEmpty() || err != nil {
		return why
	}
	if why != "" {
		why += "; "
	}
	return why + fmt.Sprintf("there were at least %s, because CPU %v is not nohz_full and nothing reports every kernel entry there: boot with nohz_full=%v, or add --accept-lower-bound",
		display.Plural(breaks, "break", "breaks"), cpus, cpus)
}
