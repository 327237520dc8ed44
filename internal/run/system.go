// SPDX-License-Identifier: Apache-2.0

package run

import (
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/topology"
)

// systemCounts is what the kernel counts for everybody, at one time.
type systemCounts struct {
	interrupts, softirqs topology.Table
	times                map[int]topology.CPUTimes
}

func readSystem(files fs.FS) (systemCounts, error) {
	var c systemCounts
	var err error
	if c.interrupts, err = topology.Interrupts(files); err != nil {
		return c, err
	}
	if c.softirqs, err = topology.Softirqs(files); err != nil {
		return c, err
	}
	c.times, err = topology.Times(files)
	return c, err
}

// usage returns what the kernel accounts for the CPUs, if there are any, since c was read, and for the task since it executed its program,
// when it had used up the amounts in before. state is nil for a task that has not ended or is not ours.
func (c systemCounts) usage(files fs.FS, cpus cpulist.Set, state *os.ProcessState, before *syscall.Rusage) (*report.Usage, error) {
	now, err := readSystem(files)
	if err != nil {
		return nil, err
	}
	u := &report.Usage{}
	if !cpus.IsEmpty() {
		u.Interrupts = positive(topology.Diff(c.interrupts, now.interrupts), cpus)
		u.Softirqs = positive(topology.Diff(c.softirqs, now.softirqs), cpus)
		u.Steal = c.steal(now, cpus)
	}
	if state == nil {
		return u, nil
	}
	if ru, ok := state.SysUsage().(*syscall.Rusage); ok {
		all, earlier := report.UsageOf(ru), report.UsageOf(before)
		u.Task = all.Since(&earlier)
	}
	return u, nil
}

// steal returns the time that the hypervisor took from cpus together.
func (c systemCounts) steal(now systemCounts, cpus cpulist.Set) *time.Duration {
	var sum time.Duration
	for cpu := range cpus.All() {
		sum += now.times[cpu].Sub(c.times[cpu]).Steal
	}
	return &sum
}

// positive returns, by row, what was counted on cpus together.
func positive(t topology.Table, cpus cpulist.Set) map[string]uint64 {
	counts := make(map[string]uint64)
	for _, row := range t.Rows {
		for cpu := range cpus.All() {
			if n, ok := t.Count(row.Name, cpu); ok && n > 0 {
				counts[rowName(row)] += n
			}
		}
	}
	return counts
}

// rowName is the name of a row, with the device where the name is a number.
func rowName(row topology.Row) string {
	return strings.TrimSpace(row.Name + " " + row.Device())
}
