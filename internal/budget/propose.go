// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/printable"
	"github.com/taskiso/taskiso/internal/report"
)

// seen is the most that reports have of a cause on one CPU.
type seen struct {
	count    uint64 // where the rate is the highest
	duration time.Duration
	longest  time.Duration
	measured bool // whether all lengths are
}

func (s *seen) rate() float64 { return float64(s.count) / s.duration.Seconds() }

// allowed is the rate that three standard deviations of a Poisson process above what was seen would have: more than that
// comes once in 700 times if nothing has changed.
func (s *seen) allowed() float64 {
	n := float64(s.count)
	return (n + 3*math.Sqrt(n)) / s.duration.Seconds()
}

// Propose writes a budget that the reports meet: a rule for each cause that they have, and one that allows no other. Longest
// breaks may be headRoom times as long as the longest seen. It returns an error if a report was of nothing.
func Propose(w io.Writer, headRoom float64, reports []*report.Report) error {
	causes := map[string]*seen{}
	for _, r := range reports {
		if r.Duration <= 0 {
			return fmt.Errorf("a report of an observation that ended before it began gives no rates")
		}
		for _, c := range r.CPUs {
			note(causes, r.Duration, c)
		}
	}
	var text strings.Builder
	fmt.Fprintf(&text, `# A budget for taskiso run and watch (--budget FILE), made from %s by taskiso budget init.
# Each table is a rule, judged on each CPU by itself. per_second: what was seen and three standard deviations
# of a Poisson process more. longest: %v times the longest seen.
`, display.Plural(uint64(len(reports)), "report", "reports"), headRoom)
	writeDoubts(&text, reports)
	ids := slices.Sorted(maps.Keys(causes))
	for _, id := range ids {
		causes[id].write(&text, id, headRoom)
	}
	writeOthers(&text, ids)
	_, err := io.WriteString(w, text.String())
	return err
}

// writeDoubts prints that reports like these are not known to meet any budget.
func writeDoubts(text *strings.Builder, reports []*report.Report) {
	for i, r := range reports {
		for _, d := range r.Doubts {
			text.WriteString(printable.Line("# In doubt in report %d, where each limit is unknown so: %s", i+1, d.Text))
		}
		for _, cpu := range r.LowerBound() {
			fmt.Fprintf(text, "# CPU %d of report %d is not nohz_full: there a limit is met only with --accept-lower-bound\n", cpu, i+1)
		}
	}
}

// note takes in what a CPU saw: causes of one ID with several details are one.
func note(causes map[string]*seen, duration time.Duration, c report.CPU) {
	here := map[string]*seen{}
	for _, cause := range c.Causes {
		s := here[cause.ID]
		if s == nil {
			s = &seen{duration: duration, measured: true}
			here[cause.ID] = s
		}
		s.count += cause.Count
		s.longest = max(s.longest, cause.Max)
		s.measured = s.measured && !cause.AtLeast && cause.Unmeasured == 0
	}
	for id, s := range here {
		before := causes[id]
		if before == nil {
			causes[id] = s
			continue
		}
		before.longest = max(before.longest, s.longest)
		before.measured = before.measured && s.measured
		if s.rate() > before.rate() {
			before.count, before.duration = s.count, s.duration
		}
	}
}

func (s *seen) write(text *strings.Builder, id string, headRoom float64) {
	fmt.Fprintf(text, "\n[%s]\ncause = %s\n", strconv.Quote(id), strconv.Quote(id))
	fmt.Fprintf(text, "per_second = %s # seen: %d in %v\n", up(s.allowed()), s.count, s.duration.Round(time.Millisecond))
	if s.measured {
		fmt.Fprintf(text, "longest = %q # seen: %v\n", roundUp(time.Duration(float64(s.longest)*headRoom)), s.longest)
	} else {
		fmt.Fprintf(text, "# longest = %q # seen, at least; a limit would be unknown where lengths are lower bounds\n", s.longest)
	}
}

func writeOthers(text *strings.Builder, ids []string) {
	quoted := make([]string, 0, len(ids))
	for _, id := range ids {
		quoted = append(quoted, strconv.Quote(id))
	}
	text.WriteString("\n# Nothing else.\n[anything-else]\n")
	if len(quoted) > 0 {
		fmt.Fprintf(text, "except = [%s]\n", strings.Join(quoted, ", "))
	}
	text.WriteString("count = 0\n")
}

// up prints a number with three digits, and never less than it. TOML wants a digit on either side of a point.
func up(v float64) string {
	if v == 0 {
		return "0.0"
	}
	exponent := int(math.Floor(math.Log10(v))) - 2
	unit := math.Pow10(exponent)
	return strconv.FormatFloat(math.Ceil(v/unit)*unit, 'f', max(1, -exponent), 64)
}

// roundUp rounds to a hundredth of the largest power of ten in d.
func roundUp(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for unit*1000 <= d {
		unit *= 10
	}
	return (d + unit - 1) / unit * unit
}
