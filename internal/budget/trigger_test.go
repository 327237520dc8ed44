// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"strings"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/report"
)

// brk is a break that is judged.
func brk(at, duration time.Duration, cpu int, id string, from ...string) *report.Break {
	b := &report.Break{At: at, Duration: duration, CPU: cpu, ID: id, Title: "title of " + id}
	for _, name := range from {
		b.Origins = append(b.Origins, report.Origin{Name: name})
	}
	return b
}

// A trigger fires with the breaks that are beyond its limit, among those that it selects.
func TestTriggers(t *testing.T) {
	const us, s = time.Microsecond, time.Second
	breaks := []*report.Break{
		brk(0, 5*us, 3, "tick"), brk(1, 100*us, 3, "ipi-membarrier", "bash"), brk(2, 101*us, 2, "timer-work", "cron", "bash"),
		brk(s, us, 3, "tick"), brk(s+1, us, 3, "tick"), brk(s+2, us, 3, "tick"), brk(2*s, us, 2, "tick"),
	}
	for text, want := range map[string]string{
		"longest>100us":                   "2",
		"longest>99us":                    "12",
		"longest>0s,cpus=2":               "26",
		"longest>0s,cpus=2,3":             "0123456",
		"count>0,cause=timer-*":           "2",
		"cause=timer-*":                   "2",
		"cause=timer-*,cause=ipi-*":       "12",
		"count>2,cause=tick":              "4", // three of them, and from then on anew
		"except=tick":                     "12",
		"from=bash":                       "12",
		"from=bash,except=ipi-membarrier": "2",
		"per_second>2":                    "25", // the third in a second, once
		"per_second>2,cpus=3":             "5",
		"per_second>3":                    "",
	} {
		trigger, err := ParseTrigger(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		var fired strings.Builder
		for i, b := range breaks {
			if reason := trigger.Break(b); reason != "" {
				fired.WriteByte(byte('0' + i))
				if !strings.Contains(reason, "title of "+b.ID) {
					t.Errorf("%s: %q", text, reason)
				}
			}
		}
		if fired.String() != want {
			t.Errorf("%s fires at breaks %q, want %q", text, fired.String(), want)
		}
	}
}

func TestNoTriggers(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "is not a condition",
		"longest":                            "is not a condition",
		"longest>":                           "want a duration",
		"longest>-1s":                        "want a duration",
		"longest>5":                          "want a duration",
		"count>x":                            "want a number",
		"count>-1":                           "want a number",
		"per_second>NaN":                     "want a number",
		"quiet>1s":                           "is not known of single breaks",
		"p99>1s":                             "is not known of single breaks",
		"cause=":                             "is not a condition",
		"cause=[":                            "is not a pattern",
		"from=[":                             "is not a pattern",
		"cpus=x":                             "x",
		"longest>1s,count>1":                 "is not a condition",
		"longest>1s,3":                       "is not a condition",
		"when=now":                           "unknown key",
		"cause=" + strings.Repeat("x", 2000): "too many",
	} {
		if _, err := ParseTrigger(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// FuzzTrigger reads what anybody can write on a command line.
func FuzzTrigger(f *testing.F) {
	for _, text := range []string{"longest>100us,cause=timer-*", "count>3,cpus=2,3", "per_second>1e9,from=x"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		trigger, err := ParseTrigger(text)
		if err != nil {
			return
		}
		trigger.Break(brk(1, 2, 3, "tick", "bash"))
		if trigger.Text != text || len(trigger.rule.Limits) != 1 {
			t.Errorf("%q: %+v", text, trigger)
		}
	})
}
