// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/proc"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/trace"
)

// Subject is what is watched: CPUs, or a process or thread that runs already.
type Subject struct {
	files    fs.FS
	describe report.Task
	follow   trace.Follow
}

// NewCPUs returns all tasks of CPUs.
func NewCPUs(files fs.FS) *Subject {
	return &Subject{files: files, describe: report.Task{Kind: kindCPUs}}
}

// NewProcess returns all threads of a process.
func NewProcess(files fs.FS, pid int) *Subject {
	return &Subject{files: files, describe: report.Task{Kind: kindProcess, PID: pid}, follow: trace.FollowThreads}
}

// NewThread returns one thread.
func NewThread(files fs.FS, tid int) *Subject {
	return &Subject{files: files, describe: report.Task{Kind: kindThread, TID: tid}}
}

// What a subject is, in the words of reports.
const (
	kindCPUs    = "cpus"
	kindLoop    = "busy loop"
	kindProcess = "process"
	kindThread  = "thread"
)

func (s *Subject) String() string {
	switch s.describe.Kind {
	case kindProcess:
		return fmt.Sprintf("process %d", s.describe.PID)
	case kindThread:
		return fmt.Sprintf("thread %d", s.describe.TID)
	default:
		return "CPUs"
	}
}

// dir is the subject's directory below /proc, or "" for CPUs.
func (s *Subject) dir() string {
	switch s.describe.Kind {
	case kindProcess:
		return proc.Process(s.describe.PID)
	case kindThread:
		return proc.Process(s.describe.TID)
	default:
		return ""
	}
}

// Alive reports whether the subject is still there.
func (s *Subject) Alive() bool {
	if s.dir() == "" {
		return true
	}
	stat, err := proc.ReadStat(s.files, s.dir())
	return err == nil && !stat.HasEnded()
}

// threads returns the numbers of the subject's threads that have not ended.
func (s *Subject) threads() ([]int, error) {
	if s.describe.Kind != kindProcess {
		if !s.Alive() {
			return nil, nil
		}
		return []int{s.describe.TID}, nil
	}
	tids, err := proc.Threads(s.files, s.describe.PID)
	if err != nil {
		return nil, fmt.Errorf("listing the threads of %s: %w", s, err)
	}
	return tids, nil
}

// pinned returns the CPUs the subject's threads are confined to.
func (s *Subject) pinned() (cpulist.Set, error) {
	tids, err := s.threads()
	if err != nil {
		return cpulist.Set{}, err
	}
	var all cpulist.Set
	for _, tid := range tids {
		cpus, err := affinity.Of(tid)
		if errors.Is(err, unix.ESRCH) {
			continue // it has ended meanwhile
		}
		if err != nil {
			return cpulist.Set{}, err
		}
		all = all.Union(cpus)
	}
	return all, nil
}
