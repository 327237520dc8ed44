// SPDX-License-Identifier: Apache-2.0

package proc

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// Stat is what is used of the file "stat": proc_pid_stat(5).
type Stat struct {
	State                    string // "R", "S", "Z", ...
	Flags                    uint64 // PF_* of include/linux/sched.h
	MinorFaults, MajorFaults int64
	User, System             time.Duration
	Start                    string // since boot, in clock ticks: distinguishes tasks with the same number
	CPU                      int    // on which it ran last; -1 if that is not shown
}

// Fields behind the name in parentheses, counted from 0; proc_pid_stat(5) counts
// the first one as 3.
const (
	statState     = 0
	statFlags     = 9 - 3
	statMinflt    = 10 - 3
	statMajflt    = 12 - 3
	statUtime     = 14 - 3
	statStime     = 15 - 3
	statStart     = 22 - 3
	statProcessor = 39 - 3
)

// userHZ is the unit of times in it on all architectures we build for.
const userHZ = 100

// ReadStat reads the file of a process or thread.
func ReadStat(files fs.FS, dir string) (Stat, error) {
	text, err := read(files, dir, "stat")
	if err != nil {
		return Stat{}, err
	}
	s, err := ParseStat(text)
	if err != nil {
		return s, fmt.Errorf("reading /%s/stat: %w", dir, err)
	}
	return s, nil
}

// ParseStat parses its text.
func ParseStat(text string) (Stat, error) {
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:]) // the name may have anything in it
	if len(fields) <= statStart {
		return Stat{}, fmt.Errorf("parsing %.80q: too few fields", text)
	}
	s := Stat{State: fields[statState], Start: fields[statStart], CPU: -1}
	flags, err := strconv.ParseUint(fields[statFlags], 10, 64)
	s.Flags = flags
	number := func(field int) int64 {
		n, wrong := strconv.ParseInt(fields[field], 10, 64)
		if err == nil {
			err = wrong
		}
		return n
	}
	s.MinorFaults, s.MajorFaults = number(statMinflt), number(statMajflt)
	s.User, s.System = ticks(number(statUtime)), ticks(number(statStime))
	if len(fields) > statProcessor {
		s.CPU = int(number(statProcessor))
	}
	if err != nil {
		return Stat{}, fmt.Errorf("parsing %.80q: %w", text, err)
	}
	return s, nil
}

func ticks(n int64) time.Duration { return time.Duration(n) * (time.Second / userHZ) }

// HasEnded reports whether it only waits to be forgotten.
func (s Stat) HasEnded() bool { return s.State == "Z" || s.State == "X" }
