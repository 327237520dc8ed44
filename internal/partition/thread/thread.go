// SPDX-License-Identifier: Apache-2.0

// Package thread reads of each thread that runs where it may run, and whether that can be changed.
package thread

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/clock"
	"github.com/taskiso/taskiso/internal/printable"
	"github.com/taskiso/taskiso/internal/proc"
)

// Bits of a task's flags, from include/linux/sched.h.
const (
	NoSetAffinity = 0x04000000
	Kthread       = 0x00200000
)

// Thread is one that runs.
type Thread struct {
	Dir     string // "/proc/12/task/13"
	Name    string
	Allowed cpulist.Set
	Flags   uint64
	Start   string // in ticks since boot; compare it with [Same]
}

// tick is the unit in which /proc shows starts: 1 s / USER_HZ.
const tick = 10 * time.Millisecond

// began returns the start of a thread by the kernel's clock, from the start that /proc shows to a process whose clock is
// ahead of it: the kernel adds the offset of the reader's time namespace (timens_add_boottime_ns() in do_task_stat()).
// It may be one tick too late if the offset is not a whole number of ticks.
func began(shown string, ahead time.Duration) (string, error) {
	if ahead == 0 {
		return shown, nil
	}
	ticks, err := strconv.ParseInt(shown, 10, 64)
	if err != nil {
		return "", fmt.Errorf("parsing the start %q: %w", shown, err)
	}
	whole := ahead / tick
	if ahead%tick < 0 {
		whole--
	}
	return strconv.FormatInt(ticks-int64(whole), 10), nil
}

// Same reports whether two starts of threads with the same number are of the same thread. Read in different time
// namespaces they may differ by a tick; a number is not used again that soon.
func Same(a, b string) bool {
	if a == b {
		return true
	}
	m, err := strconv.ParseInt(a, 10, 64)
	n, err2 := strconv.ParseInt(b, 10, 64)
	return err == nil && err2 == nil && max(m-n, n-m) <= 1
}

// All returns all that run. Threads that end meanwhile are left out. It fails where the starts of threads cannot be compared with those that
// another process read.
func All(files fs.FS) ([]Thread, error) {
	if err := clock.Check(); err != nil {
		return nil, err
	}
	processes, err := proc.Processes(files)
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	var all []Thread
	for _, pid := range processes {
		tids, err := proc.Threads(files, pid)
		if err != nil {
			continue
		}
		for _, tid := range tids {
			if t, err := Read(files, proc.Thread(pid, tid)); err == nil {
				all = append(all, t)
			}
		}
	}
	return all, nil
}

// Read returns the thread with a directory such as "proc/12/task/13".
func Read(files fs.FS, dir string) (Thread, error) {
	status, err := proc.ReadStatus(files, dir)
	if err != nil {
		return Thread{}, err
	}
	stat, err := proc.ReadStat(files, dir)
	if err != nil {
		return Thread{}, err
	}
	start, err := began(stat.Start, clock.BoottimeAhead())
	if err != nil {
		return Thread{}, fmt.Errorf("reading /%s: %w", dir, err)
	}
	allowed, err := cpulist.ParseSysfs(status.Value("Cpus_allowed_list"))
	if err != nil || allowed.IsEmpty() {
		return Thread{}, errors.Join(fmt.Errorf("reading /%s: no CPUs in status", dir), err)
	}
	return Thread{Dir: "/" + dir, Name: printable.Text(status.Value("Name")), Allowed: allowed, Flags: stat.Flags, Start: start}, nil
}

// Movable reports whether its affinity can be set. That of other threads is the
// kernel's own business: those of one CPU, and workers.
func (t Thread) Movable() bool { return t.Flags&NoSetAffinity == 0 }

// IsKernel reports whether it is a thread of the kernel.
func (t Thread) IsKernel() bool { return t.Flags&Kthread != 0 }

// Interrupt returns the number of the interrupt that a kernel thread handles, which
// its name has (irq/24-nvme0q1), "" if it handles none.
func (t Thread) Interrupt() string {
	name, isHandler := strings.CutPrefix(t.Name, "irq/")
	number, _, named := strings.Cut(name, "-")
	if _, err := strconv.Atoi(number); err != nil || !isHandler || !named || !t.IsKernel() {
		return ""
	}
	return number
}
