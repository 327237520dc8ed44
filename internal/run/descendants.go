// SPDX-License-Identifier: Apache-2.0

package run

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/taskiso/taskiso/internal/printable"
	"github.com/taskiso/taskiso/internal/proc"
	"github.com/taskiso/taskiso/internal/report"
)

// leftBehind returns the processes of the command that run on after it, the command itself left out. taskiso ends
// none of them: a daemon is to go on, and the process group is the shell's, which taskiso shares.
func (o *Observation) leftBehind() ([]report.Process, error) {
	if o.observer == nil {
		return nil, nil
	}
	threads, err := o.observer.Watched()
	if err != nil {
		return nil, err
	}
	var left []report.Process
	listed := make(map[int]bool)
	for _, tid := range threads {
		p, ok := processOf(o.cfg.Files, tid)
		if ok && !listed[p.PID] {
			listed[p.PID] = true
			left = append(left, p)
		}
	}
	slices.SortFunc(left, func(a, b report.Process) int { return a.PID - b.PID })
	return left, nil
}

// processOf returns the process of a thread, unless it has ended.
func processOf(files fs.FS, tid uint32) (report.Process, bool) {
	dir := proc.Process(int(tid))
	stat, err := proc.ReadStat(files, dir)
	if err != nil || stat.HasEnded() {
		return report.Process{}, false
	}
	status, err := proc.ReadStatus(files, dir)
	if err != nil {
		return report.Process{}, false
	}
	name, err := proc.Comm(files, dir)
	if err != nil {
		return report.Process{}, false
	}
	return report.Process{PID: int(status.Number("Tgid")), Name: printable.Text(name)}, true
}

// addLeftBehind lists the processes that run on: they are still pinned and no longer observed.
func (o *Observation) addLeftBehind() error {
	r := &o.Report
	var err error
	if r.Task.Left, err = o.leftBehind(); err != nil || len(r.Task.Left) == 0 {
		return err
	}
	const most = 5
	var names []string
	for _, p := range r.Task.Left[:min(most, len(r.Task.Left))] {
		names = append(names, fmt.Sprintf("%s (process %d)", p.Name, p.PID))
	}
	if more := len(r.Task.Left) - most; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	r.Limits = append(r.Limits, "still running after the command, and no longer observed: "+strings.Join(names, ", "))
	return nil
}
