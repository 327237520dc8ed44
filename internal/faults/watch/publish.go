// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"errors"
	"io"
	"os"
	"syscall"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/faults"
	"github.com/taskiso/taskiso/internal/task"
)

// openFiles opens the files that were asked for, so that one that cannot be written is found before anything starts.
func (r *watching) openFiles() error {
	var err error
	if r.cfg.Profile != "" {
		if r.profile, err = display.Create(r.cfg.Profile); err != nil {
			return err
		}
	}
	console := r.cfg.Console
	if r.sheet, err = console.OpenSheet(r.cfg.Text, console.Stderr, os.Stderr, !r.cfg.Quiet && !r.cfg.JSON); err != nil {
		return err
	}
	if r.cfg.Report != "" {
		r.json, err = display.Create(r.cfg.Report)
	}
	return err
}

// discard drops files that were not published.
func (r *watching) discard() {
	for _, f := range []*display.File{r.profile, r.json} {
		if f != nil {
			f.Discard()
		}
	}
	if r.sheet != nil {
		r.sheet.Discard()
	}
}

func (r *watching) publish() error {
	counts, err := r.watcher.Counts()
	if err != nil {
		return err
	}
	r.collector.Fill(&r.report)
	r.report.Lost, r.report.Omitted = counts.Lost, counts.Suppressed
	r.report.Limits = append(r.report.Limits, r.limits()...)
	r.describeEnd()
	files := errors.Join(r.publishProfile(), r.publishJSON())
	if r.cfg.JSON {
		files = errors.Join(files, display.Report(r.cfg.Console.Stdout, &r.report))
	}
	text := func(w io.Writer, _ bool) error { return faults.WriteText(w, &r.report) }
	return r.sheet.Publish(files, text, text)
}

func (r *watching) publishProfile() error {
	if r.profile == nil {
		return nil
	}
	if err := r.collector.WriteProfile(r.profile, r.program, r.report.Started, r.report.Duration); err != nil {
		return err
	}
	return r.profile.Publish()
}

func (r *watching) publishJSON() error {
	if r.json == nil {
		return nil
	}
	if err := display.Report(r.json, &r.report); err != nil {
		return err
	}
	return r.json.Publish()
}

func (r *watching) limits() []string {
	var limits []string
	if !r.cfg.KernelMode {
		limits = append(limits, "faults of system calls were left out; --kernel shows them, where that is allowed")
	}
	if r.cfg.MajorOnly {
		limits = append(limits, "minor faults were left out")
	}
	return limits
}

func (r *watching) describeEnd() {
	if r.state == nil {
		return
	}
	code := task.ExitCode(r.state)
	r.report.Target.Status = &code
	if u, ok := r.state.SysUsage().(*syscall.Rusage); ok {
		r.report.Usage = &faults.Usage{Minor: u.Minflt - r.process.Used.Minflt, Major: u.Majflt - r.process.Used.Majflt}
	}
}

// verdict returns what was found. The failure of a command comes before it.
func (r *watching) verdict() task.Verdict {
	if r.state != nil && !r.ended {
		if v, failed := task.CommandVerdict(r.state); failed {
			return v
		}
	}
	n := r.report.Minor + r.report.Major
	if r.cfg.FailOnFault && n+r.report.Lost+r.report.Omitted > 0 {
		return task.Because(task.Exceeded, "page faults: %s, lost: %s", display.Count(n), display.Count(r.report.Lost+r.report.Omitted))
	}
	return task.Verdict{}
}
