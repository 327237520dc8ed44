// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/taskiso/taskiso/internal/report"
)

// Fields of /proc/PID/stat behind the name in parentheses, counted from the
// state as 0; proc(5) counts the state as field 3.
const (
	statState  = 0
	statMinflt = 7
	statMajflt = 9
	statUtime  = 11
	statStime  = 12
)

// userHZ is the unit of times in /proc/PID/stat on all architectures we build for.
const userHZ = 100

// usage reads what the kernel accounts for the subject, or nil for CPUs.
func (s *subject) usage() (*report.TaskUsage, error) {
	if s.dir() == "" {
		return nil, nil
	}
	dir := s.dir()
	if s.describe.Kind == "thread" {
		dir = path.Join(dir, "task", strconv.Itoa(s.describe.TID)) // its own, not its process's
	}
	stat, err := fs.ReadFile(s.files, path.Join(dir, "stat"))
	if err != nil {
		return nil, fmt.Errorf("reading the times of %s: %w", s, err)
	}
	u, err := parseStat(string(stat))
	if err != nil {
		return nil, fmt.Errorf("reading the times of %s: %w", s, err)
	}
	status, err := fs.ReadFile(s.files, path.Join(dir, "status"))
	if err != nil {
		return nil, fmt.Errorf("reading the state of %s: %w", s, err)
	}
	u.Voluntary = statusNumber(string(status), "voluntary_ctxt_switches")
	u.Involuntary = statusNumber(string(status), "nonvoluntary_ctxt_switches")
	return u, nil
}

// statFields returns the fields behind the name, which may contain anything.
func statFields(stat string) []string {
	return strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
}

func isZombie(stat string) bool {
	fields := statFields(stat)
	return len(fields) > statState && (fields[statState] == "Z" || fields[statState] == "X")
}

func parseStat(stat string) (*report.TaskUsage, error) {
	fields := statFields(stat)
	if len(fields) <= statStime {
		return nil, fmt.Errorf("parsing %q: too few fields", stat)
	}
	numbers := make(map[int]int64)
	for _, i := range []int{statMinflt, statMajflt, statUtime, statStime} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("parsing %q: %w", stat, err)
		}
		numbers[i] = n
	}
	return &report.TaskUsage{
		User:        time.Duration(numbers[statUtime]) * time.Second / userHZ,
		System:      time.Duration(numbers[statStime]) * time.Second / userHZ,
		MinorFaults: numbers[statMinflt],
		MajorFaults: numbers[statMajflt],
	}, nil
}

// statusNumber returns a number of /proc/PID/status, 0 if it is not there.
func statusNumber(status, name string) int64 {
	for line := range strings.Lines(status) {
		if text, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
			return n
		}
	}
	return 0
}
