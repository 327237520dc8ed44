// SPDX-License-Identifier: Apache-2.0

package screen

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/taskiso/taskiso/internal/display"
)

// legend lists what ends causes, and which letter stands for it in the table.
type legend struct {
	*screen
	first []line // of what is not a way: that no partition can be made
}

func (s *screen) newLegend() *legend {
	slices.SortStableFunc(s.ways, func(a, b *way) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), compare(s.Sort, &a.figures, &b.figures))
	})
	l := &legend{screen: s}
	if none := s.noPartition(); none != "" {
		l.first = []line{legendLine("", "now", "", none)}
	}
	return l
}

// least is how many lines it needs to name all.
func (l *legend) least() int { return len(l.first) + len(l.ways) }

// fewest is how many lines it needs to count all.
func (l *legend) fewest() int { return len(l.first) + 1 }

// lines returns at most so many. The ways get their letters.
func (l *legend) lines(most int) []line {
	lines, next := l.first, 'A'
	for i, w := range l.ways {
		rest := len(l.ways) - i
		left := most - len(lines)
		if rest > 1 && left == 1 {
			sum := figuresOf(l.ways[i:])
			return append(lines, legendLine(others, "", display.Count(sum.count), fmt.Sprintf("%d more ways; --full lists them", rest)))
		}
		if i > 0 && w.rank == perhaps {
			w.text = "not known whether the same ends these, too"
		}
		w.letter, next = letterOf(w, next)
		lines = append(lines, l.wayLines(w, left-rest)...)
	}
	return lines
}

// wayLines is what ends causes, in one line, or in two if there is one to spare.
func (l *legend) wayLines(w *way, spare int) []line {
	count, room := display.Count(w.count), l.width-legendIndent
	folded := display.Fold(w.text, room)
	if spare < 1 || len(folded) == 1 || w.rank <= perhaps {
		return []line{legendLine(w.letter, w.kind, count, display.Cut(w.text, room))}
	}
	rest := display.Cut(strings.Join(folded[1:], " "), room)
	return []line{legendLine(w.letter, w.kind, count, folded[0]), {{"", strings.Repeat(" ", legendIndent) + rest}}}
}

// letterOf returns the letter of a way, and that of the next one.
func letterOf(w *way, next rune) (letter string, after rune) {
	switch w.rank {
	case perhaps:
		return "A?", max(next, 'B')
	case nothing:
		return "-", next
	}
	return string(next), next + 1
}

// Widths of the columns before the texts.
const (
	kindWidth    = len("by hand")
	endsWidth    = len("ends 1,234,567")
	legendIndent = 2 + 2 + 2 + kindWidth + 2 + endsWidth + 2
)

func legendLine(letter, kind, count, text string) line {
	ends := ""
	if count != "" {
		ends = "ends " + display.Pad(count, endsWidth-len("ends "), true)
	}
	return line{
		{display.Bold, "  " + display.Pad(letter, 2, false)},
		{"", "  " + display.Pad(kind, kindWidth, false) + "  " + display.Pad(ends, endsWidth, false) + "  " + text},
	}
}

func figuresOf(ways []*way) (all figures) {
	for _, w := range ways {
		all.add(&w.figures)
	}
	return all
}

// noPartition is why nothing is known of a partition, or none can be made; "" if one ends something, or there is nothing to end.
func (s *screen) noPartition() string {
	foreign := slices.ContainsFunc(s.groups, func(g group) bool { return !g.own() })
	switch p := s.report.Partition; {
	case !foreign:
		return ""
	case p == nil:
		return "not known what taskiso partition create would end"
	case p.Reason != "":
		return "no partition: " + s.clean(p.Reason)
	case s.ways[0].rank > perhaps:
		return fmt.Sprintf("none of these end with taskiso partition create -c %v", s.cpus())
	}
	return ""
}
