// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Priority is a flag in the notation of rtla and tuned: f:95, r:10, o:-5. Its
// zero value changes nothing.
type Priority struct {
	Given  bool   `json:"given"`
	Policy uint32 `json:"policy"` // SCHED_*
	Level  int32  `json:"level"`  // priority, or nice value
}

// policies are what can be asked for, with the levels that sched(7) allows.
var policies = map[string]struct {
	policy   uint32
	min, max int32
}{
	"f": {unix.SCHED_FIFO, 1, 99},
	"r": {unix.SCHED_RR, 1, 99},
	"o": {unix.SCHED_NORMAL, -20, 19},
}

func (p *Priority) Type() string { return "priority" }

func (p *Priority) String() string {
	for letter, known := range policies {
		if p.Given && known.policy == p.Policy {
			return fmt.Sprintf("%s:%d", letter, p.Level)
		}
	}
	return ""
}

func (p *Priority) Set(text string) error {
	letter, level, _ := strings.Cut(text, ":")
	if letter == "d" {
		return fmt.Errorf("a deadline (d:) is not possible: the kernel does not let such a thread be pinned to a CPU")
	}
	known, ok := policies[letter]
	if !ok {
		return errors.New("want f:PRIORITY, r:PRIORITY or o:NICE")
	}
	n, err := strconv.ParseInt(level, 10, 32)
	if err != nil || int32(n) < known.min || int32(n) > known.max {
		return fmt.Errorf("%s: takes a number from %d to %d", letter, known.min, known.max)
	}
	*p = Priority{Given: true, Policy: known.policy, Level: int32(n)}
	return nil
}

// Realtime reports whether the kernel throttles such threads (sched_rt_runtime_us).
func (p *Priority) Realtime() bool {
	return p.Given && p.Policy != unix.SCHED_NORMAL
}

// apply gives this thread the priority.
func (p *Priority) apply() error {
	if !p.Given {
		return nil
	}
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: p.Policy}
	if p.Realtime() {
		attr.Priority = uint32(p.Level)
	} else {
		attr.Nice = p.Level
	}
	if err := unix.SchedSetAttr(0, &attr, 0); err != nil {
		return fmt.Errorf("setting the priority %v: %w; it takes CAP_SYS_NICE or a limit RLIMIT_RTPRIO", p, err)
	}
	return nil
}
