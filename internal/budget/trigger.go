// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/report"
)

// Trigger is a rule with one limit, which is judged by each break as it comes. What was not seen is not judged: a trigger shows what was beyond
// the limit, and claims nothing of what was not.
type Trigger struct {
	Text string // as it was given
	rule Rule

	beyond uint64        // breaks since the last time
	second time.Duration // of the observation, and the breaks in it
	breaks float64
	fired  bool // in this second
}

// maxTrigger bounds the text of a trigger.
const maxTrigger = 1024

// ParseTrigger reads a limit, as a rule of a budget has it, with what is beyond it: "longest>100us", "per_second>1000", "count>0",
// and behind it, after commas, what the rule selects: "cause=timer-*", "except=tick", "from=bash", "cpus=2-3". Without a limit each
// break that is selected is meant.
func ParseTrigger(text string) (*Trigger, error) {
	t := &Trigger{Text: text, rule: Rule{Name: text, Limits: []Limit{{Figure: Count}}}}
	if len(text) > maxTrigger {
		return nil, fmt.Errorf("%d bytes are too many for a condition", len(text))
	}
	for i, part := range strings.Split(text, ",") {
		if err := t.parse(part, i == 0); err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
	}
	return t, nil
}

func (t *Trigger) parse(part string, first bool) error {
	if figure, allowed, found := strings.Cut(part, ">"); found && first {
		return t.limit(Figure(figure), allowed)
	}
	key, value, found := strings.Cut(part, "=")
	if !found || value == "" {
		if list := &t.rule.CPUs; !first && !list.IsEmpty() { // cpus=2,3
			return t.cpus(list.String() + "," + part)
		}
		return fmt.Errorf("%q is not a condition: want longest>100us, per_second>1000, count>0, cause=ID, except=ID, from=NAME or cpus=LIST", part)
	}
	var err error
	switch key {
	case "cause":
		err = t.patterns(&t.rule.Causes, key, value)
	case "except":
		err = t.patterns(&t.rule.Except, key, value)
	case "from":
		err = t.patterns(new([]string), key, value)
		t.rule.From = value
	case "cpus":
		err = t.cpus(value)
	default:
		err = fmt.Errorf("unknown key %q: want cause, except, from or cpus", key)
	}
	return err
}

func (t *Trigger) patterns(to *[]string, key, value string) error {
	list, err := patterns(key, value)
	*to = append(*to, list...)
	return err
}

func (t *Trigger) cpus(list string) (err error) {
	t.rule.CPUs, err = cpulist.Parse(list)
	return err
}

// limit reads the figure and what is allowed of it.
func (t *Trigger) limit(figure Figure, text string) error {
	l := Limit{Figure: figure}
	switch figure {
	case Longest:
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return fmt.Errorf("longest: %q: want a duration such as 100us", text)
		}
		l.Allowed = float64(d)
	case Count, PerSecond:
		n, err := strconv.ParseFloat(text, 64)
		if err == nil {
			n, _, err = number(&n)
		}
		if err != nil {
			return fmt.Errorf("%s: %q: want a number, 0 or more", figure, text)
		}
		l.Allowed = n
	default:
		return fmt.Errorf("%q is not known of single breaks: want longest, count or per_second", string(figure))
	}
	t.rule.Limits = []Limit{l}
	return nil
}

// Break takes in a break, and returns what is beyond the limit with it, "" if nothing is.
func (t *Trigger) Break(b *report.Break) string {
	if !t.rule.isAbout(b) {
		return ""
	}
	t.beyond++
	limit := t.rule.Limits[0]
	switch limit.Figure {
	case Longest:
		if float64(b.Duration) <= limit.Allowed {
			return ""
		}
	case Count:
		if float64(t.beyond) <= limit.Allowed {
			return ""
		}
	case PerSecond:
		if !t.inSecond(b.At/time.Second, limit.Allowed) {
			return ""
		}
		return fmt.Sprintf("more than %v breaks in second %d of the observation, the last one on CPU %d: %s", limit.Allowed, t.second, b.CPU, what(b))
	}
	t.beyond = 0
	return fmt.Sprintf("a break of %s on CPU %d: %s", display.Span(b.Duration), b.CPU, what(b))
}

// inSecond counts a break in its second, and reports whether it is the first that is too many there.
func (t *Trigger) inSecond(second time.Duration, allowed float64) bool {
	if second > t.second {
		t.second, t.breaks, t.fired = second, 0, false
	}
	t.breaks++
	if t.fired || t.breaks <= allowed {
		return false
	}
	t.fired = true
	return true
}

func what(b *report.Break) string {
	if b.Detail == "" {
		return b.Title
	}
	return b.Title + ": " + b.Detail
}

// isAbout reports whether a rule selects a break.
func (r *Rule) isAbout(b *report.Break) bool {
	if !r.CPUs.IsEmpty() && !r.CPUs.Contains(b.CPU) || !r.selects(b.ID) {
		return false
	}
	return r.From == "" || slices.ContainsFunc(b.Origins, func(o report.Origin) bool { return r.isFrom(o.Name) })
}
