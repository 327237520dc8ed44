// SPDX-License-Identifier: Apache-2.0

package screen

import (
	"fmt"
	"slices"
	"strings"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/printable"
	"github.com/taskiso/taskiso/internal/remedy"
	"github.com/taskiso/taskiso/internal/report"
)

// way is something that ends causes.
type way struct {
	figures // of what it ends
	rank    rank
	kind    string // in a word
	text    string
	letter  string // in the column of the table
}

// rank is where a way stands in the legend.
type rank int

const (
	apart   rank = iota // setting the CPUs apart, which is one command
	perhaps             // the same, if it ends them
	other               // something else, the most effective first
	nothing
)

// others stands for the ways that the legend has no line for.
const others = "+"

// endedBy notes that breaks of a cause would end, and returns by what.
func (s *screen) endedBy(c *report.Cause, f *figures) *way {
	rank, kind, text := s.remedy(c)
	i := slices.IndexFunc(s.ways, func(w *way) bool { return w.rank == rank && w.kind == kind && w.text == text })
	if i < 0 {
		i = len(s.ways)
		s.ways = append(s.ways, &way{rank: rank, kind: kind, text: text, letter: others})
	}
	s.ways[i].add(f)
	return s.ways[i]
}

// remedy returns what ends a cause.
func (s *screen) remedy(c *report.Cause) (r rank, kind, text string) {
	switch {
	case c.Partition == report.PartitionEnds:
		return apart, "now", s.command()
	case c.Partition == report.PartitionUnknown:
		return perhaps, "maybe", s.command()
	case c.Remedy == nil:
		return nothing, "nothing", "that taskiso knows ends these"
	}
	kind = "program"
	switch c.Remedy.Kind {
	case remedy.Runtime:
		kind = "by hand"
	case remedy.Boot:
		kind = "boot"
	}
	return other, kind, s.clean(s.fill(c.Remedy.Do))
}

// fill puts the numbers of CPUs into a remedy.
func (s *screen) fill(do string) string {
	cpus := s.cpus()
	do = strings.NewReplacer("_CPULIST", "_CPULIST", "CPULIST", cpus.String()).Replace(do) // that of irqbalance is a name
	if housekeeping := s.report.Host.Online.Minus(cpus); !housekeeping.IsEmpty() {
		do = strings.ReplaceAll(do, "HOUSEKEEPING", housekeeping.String())
	}
	if first, some := cpus.First(); some && cpus.Len() == 1 {
		do = strings.ReplaceAll(do, "cpuN", fmt.Sprintf("cpu%d", first))
		do = strings.ReplaceAll(do, "machinecheckN", fmt.Sprintf("machinecheck%d", first))
	}
	return do
}

// command is what sets the CPUs apart. It can be pasted: where there is no room for the command of the user, three dots stand for it.
func (s *screen) command() string {
	cpus, t := s.cpus(), &s.report.Task
	switch t.Kind {
	case "command":
		start := fmt.Sprintf("sudo taskiso run -c %v --partition -- ", cpus)
		if words, ok := quoted(t.Command); ok && words == s.clean(words) && display.Width(start+words) <= s.width-legendIndent {
			return start + words
		}
		return start + "…"
	case "busy loop":
		return fmt.Sprintf("sudo taskiso run -c %v --partition", cpus)
	default:
		return fmt.Sprintf("sudo taskiso partition create -c %v", cpus)
	}
}

// quoted returns a command as a shell reads it; false if not every terminal can show it.
func quoted(words []string) (string, bool) {
	quoted := make([]string, len(words))
	for i, w := range words {
		if w != printable.Text(w) || strings.Contains(w, "  ") {
			return "", false
		}
		if w == "" || strings.ContainsFunc(w, func(r rune) bool { return !isPlain(r) }) {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		quoted[i] = w
	}
	return strings.Join(quoted, " "), true
}

func isPlain(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./=:,+@%", r)
}
