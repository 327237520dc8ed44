// SPDX-License-Identifier: Apache-2.0

package screen

import (
	"fmt"
	"slices"
	"time"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/report"
)

// table is what was done to the task, what it did itself, and how long it waited.
type table struct {
	*screen
	to, by []group
}

func newTable(s *screen) *table {
	t := &table{screen: s}
	for _, g := range s.groups {
		if g.own() {
			t.by = append(t.by, g)
		} else {
			t.to = append(t.to, g)
		}
	}
	return t
}

// fixed is how many lines it has beside those of causes.
func (t *table) fixed() int {
	const headings = 3
	if t.waited() > 0 {
		return headings + 1
	}
	return headings
}

func (t *table) waited() (sum time.Duration) {
	for _, g := range t.groups {
		sum += g.waited
	}
	return sum
}

// lines are those of the table, with at most so many of causes.
func (t *table) lines(causes int) []line {
	forTo := t.most(causes)
	lines := []line{t.row(display.Bold, "", "times", "time", "longest", "ended by")}
	lines = append(lines, t.block("done to it", t.to, forTo)...)
	lines = append(lines, t.block("done by it", t.by, causes-forTo)...)
	if waited := t.waited(); waited > 0 {
		lines = append(lines, t.row("", t.waitedFor(), "", display.Span(waited), "", ""))
	}
	return lines
}

// most returns how many of the lines are for what was done to the task: as many as it has of the foremost causes, but one at least.
func (t *table) most(lines int) int {
	n := 0
	for i := range min(lines, len(t.groups)) {
		if !t.groups[i].own() {
			n++
		}
	}
	switch {
	case n == 0 && len(t.to) > 0 && lines > 1:
		return 1
	case n == lines && len(t.by) > 0 && lines > 1:
		return n - 1
	}
	return n
}

// block is a sum and its causes, at most so many; the last one stands for those that are left out.
func (t *table) block(title string, groups []group, most int) []line {
	sum := sumOf(groups)
	lines := []line{t.figures(display.Bold, title, &sum, "")}
	shown := groups
	if len(groups) > most {
		shown = groups[:max(0, most-1)]
	}
	for i := range shown {
		g := &shown[i]
		lines = append(lines, t.figures("", "  "+t.label(g), &g.figures, letters(g.ways)))
	}
	if rest := groups[len(shown):]; len(rest) > 0 && most > 0 {
		sum := sumOf(rest)
		lines = append(lines, t.figures("", "  "+hidden(rest, len(shown)), &sum, letters(waysOf(rest))))
	}
	return lines
}

// hidden is the line for causes that have none of their own, behind so many that have.
func hidden(rest []group, shown int) string {
	if shown == 0 {
		return fmt.Sprintf("%s, and %s", rest[0].title, display.Plural(uint64(len(rest)-1), "other cause", "other causes"))
	}
	return display.Plural(uint64(len(rest)), "other cause", "other causes")
}

func sumOf(groups []group) (all figures) {
	for i := range groups {
		all.add(&groups[i].figures)
	}
	return all
}

func waysOf(groups []group) (all []*way) {
	for _, g := range groups {
		for _, w := range g.ways {
			if !slices.Contains(all, w) {
				all = append(all, w)
			}
		}
	}
	return all
}

// letters are those of the ways, as many as the column has room for.
func letters(ways []*way) string {
	const room = 8
	text, more := "", false
	for _, w := range sorted(ways) {
		if w.letter == others || len(text)+len(w.letter) >= room {
			more = true
			continue
		}
		text += w.letter
	}
	if more {
		text += others
	}
	return text
}

// sorted returns ways as the legend has them.
func sorted(ways []*way) []*way {
	return slices.SortedStableFunc(slices.Values(ways), func(a, b *way) int {
		if (a.letter == "-") != (b.letter == "-") {
			return map[bool]int{true: 1, false: -1}[a.letter == "-"]
		}
		return slices.Compare([]byte(a.letter), []byte(b.letter))
	})
}

// figures is a line with the figures of breaks.
func (t *table) figures(style, label string, f *figures, letters string) line {
	if f.count == 0 {
		return t.row(style, label, "0", "", "", "")
	}
	if f.unmeasured == f.count {
		return t.row(style, label, display.Count(f.count), "-", "-", letters)
	}
	return t.row(style, label, display.Count(f.count), display.Span(f.total), display.Span(f.longest), letters)
}

// Widths of the columns behind the label, each with two blanks before it.
const (
	spanWidth    = len("12.3 ms")
	lettersWidth = len("ended by")
)

// labelWidth is that of the first column.
func (t *table) labelWidth() int {
	return t.width - 4*2 - t.countWidth() - 2*spanWidth - lettersWidth
}

func (t *table) countWidth() int {
	to, by := sumOf(t.to), sumOf(t.by)
	return max(len("times"), len(display.Count(to.count)), len(display.Count(by.count)))
}

func (t *table) row(style, label, count, total, longest, letters string) line {
	width := t.labelWidth() + 2 + t.countWidth() - display.Width(count)
	if count != "" {
		width = t.labelWidth()
		count = "  " + display.Pad(count, t.countWidth(), true)
	}
	left := display.Pad(display.Cut(label, width), width, false)
	right := count + "  " + display.Pad(total, spanWidth, true) + "  " + display.Pad(longest, spanWidth, true)
	return line{{style, left}, {style, right}, {"", "  " + letters}}
}

// label names a cause and, as far as there is room, what it was in detail.
func (t *table) label(g *group) string {
	room := t.labelWidth() - 2
	label := display.Cut(g.title, room)
	separator := ": "
	for i := range g.parts {
		p := &g.parts[i]
		detail := t.clean(p.detail)
		if detail == "" {
			if story := story(t, p); i == 0 && story != "" && display.Width(label+story)+3 <= room {
				label += " (" + story + ")"
			}
			continue
		}
		var fits bool
		if label, fits = t.withDetail(label+separator, detail, g, i, room); !fits {
			return label
		}
		separator = ", "
	}
	return label
}

// withDetail adds a detail to a label: with its figure if there are several, and with its story, as there is room.
func (t *table) withDetail(label, detail string, g *group, i, room int) (longer string, fits bool) {
	p := &g.parts[i]
	end := 0 // what is kept for a sign that there are more
	if i < len(g.parts)-1 {
		end = len(", ") + 1
	}
	plain := detail
	if len(g.parts) > 1 {
		detail += " " + shown(t.Sort, &p.figures)
	}
	if story := story(t, p); i == 0 && story != "" && display.Width(label+detail+story)+3+end <= room {
		return label + detail + " (" + story + ")", true
	}
	if display.Width(label+detail)+end <= room {
		return label + detail, true
	}
	if i == 0 {
		if display.Width(label+plain)+end <= room {
			return label + plain + ", …", false
		}
		return display.Cut(label+plain, room), false
	}
	return display.Cut(label, room-1) + "…", false
}

// waitedFor names what the task waited for by its own choice, the longest first.
func (t *table) waitedFor() string {
	g := group{title: "waited by itself"}
	for _, of := range t.groups {
		for _, p := range of.parts {
			if p.waited > 0 {
				g.parts = append(g.parts, part{figures{count: 1, total: p.waited, longest: p.waited}, p.detail, nil})
			}
		}
	}
	slices.SortStableFunc(g.parts, func(a, b part) int { return compare(ByTime, &a.figures, &b.figures) })
	longer := *t.screen
	longer.Sort, longer.width = ByTime, t.width+2+2+t.countWidth() // it has no indent and no count
	return (&table{&longer, t.to, t.by}).label(&g)
}

// story names in a phrase who was behind breaks: who armed the timer, sent the call or woke the task, rather than the task that an
// interrupt happened to find running.
func story(t *table, p *part) string {
	var best *report.Origin
	for i := range p.origins {
		if o := &p.origins[i]; !o.IsOthers() && (best == nil || better(o, best)) {
			best = o
		}
	}
	if best == nil || best.Interrupt {
		return ""
	}
	who := t.clean(best.Name)
	switch best.Did {
	case report.DidArm:
		if best.Name == p.detail {
			return "woken by its own timer"
		}
		return "timer set by " + who
	case report.DidWake:
		return "woken by " + who
	case report.DidQueue:
		return "queued by " + who
	case report.DidMove:
		return "moved here by " + who
	case report.DidAffinity:
		return "let here by " + who
	case report.DidCgroup:
		return "cgroup changed by " + who
	default:
		return "from " + who
	}
}

// better reports whether an origin explains more than another one.
func better(a, b *report.Origin) bool {
	if a.Interrupt != b.Interrupt {
		return b.Interrupt
	}
	return a.Count > b.Count
}
