// SPDX-License-Identifier: Apache-2.0

package run

import (
	"fmt"

	"github.com/taskiso/taskiso/internal/proc"
	"github.com/taskiso/taskiso/internal/report"
)

// usage reads what the kernel accounts for the subject, or nil for CPUs.
func (s *Subject) usage() (*report.TaskUsage, error) {
	if s.dir() == "" {
		return nil, nil
	}
	dir := s.dir()
	if s.describe.Kind == kindThread {
		dir = proc.Thread(s.describe.TID, s.describe.TID) // its own times, not its process's
	}
	stat, err := proc.ReadStat(s.files, dir)
	if err != nil {
		return nil, fmt.Errorf("reading the times of %s: %w", s, err)
	}
	status, err := proc.ReadStatus(s.files, dir)
	if err != nil {
		return nil, fmt.Errorf("reading the state of %s: %w", s, err)
	}
	return &report.TaskUsage{
		User: stat.User, System: stat.System, MinorFaults: stat.MinorFaults, MajorFaults: stat.MajorFaults,
		Voluntary:   status.Number("voluntary_ctxt_switches"),
		Involuntary: status.Number("nonvoluntary_ctxt_switches"),
	}, nil
}
