// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"cmp"
	"math"
	"slices"
	"strconv"
)

// compareAll compares everything that any report has.
func compareAll(before, after []Run) []Row {
	t := newTally(before, after)
	rows := []Row{}
	var ps []float64
	for _, w := range t.all() {
		rows = append(rows, newRow(w, t.titles[w], t.of(0, w), t.of(1, w)))
		ps = append(ps, rows[len(rows)-1].P)
	}
	for i, p := range holm(ps) {
		rows[i].P = p
		rows[i].Change = rows[i].change()
	}
	sortRows(rows)
	return rows
}

// sortRows puts what is worst first, then what is more frequent. The parts of a cause follow on it.
func sortRows(rows []Row) {
	type group struct {
		rank int
		rate float64
	}
	groups := map[what]group{}
	of := func(r *Row) what { return what{cause: r.Cause, detail: r.Detail} }
	for i := range rows {
		r := &rows[i]
		g, there := groups[of(r)]
		if rank := r.Change.rank(); !there || rank < g.rank {
			g.rank = rank
		}
		g.rate = max(g.rate, r.Before.PerHour+r.After.PerHour)
		groups[of(r)] = g
	}
	slices.SortStableFunc(rows, func(a, b Row) int {
		x, y := groups[of(&a)], groups[of(&b)]
		return cmp.Or(cmp.Compare(x.rank, y.rank), cmp.Compare(y.rate, x.rate), of(&a).compare(of(&b)))
	})
}

func newRow(w what, title string, before, after group) Row {
	c := compareRates(before, after)
	r := Row{
		Cause: w.cause, Title: title, Detail: w.detail, Before: countOf(before), After: countOf(after),
		Ratio: finite(c.ratio), Low: c.low, High: finite(c.high), Dispersion: c.dispersion, P: c.p,
	}
	if w.cpu != everywhere {
		r.CPU = &w.cpu
	}
	if w.isOfProcess() {
		r.From = &w.from
	}
	return r
}

func countOf(g group) Count {
	return Count{Count: uint64(g.count()), PerHour: g.rate() * 3600}
}

func finite(v float64) *float64 {
	if math.IsInf(v, 0) || math.IsNaN(v) {
		return nil
	}
	return &v
}

func (r *Row) change() Change {
	switch {
	case r.P >= level:
		return NotFound
	case r.Before.Count == 0:
		return Appeared
	case r.After.Count == 0:
		return Vanished
	case r.After.PerHour > r.Before.PerHour:
		return More
	}
	return Less
}

// rank orders rows: what is worse comes first.
func (c Change) rank() int {
	return slices.Index([]Change{Appeared, More, Vanished, Less, NotFound}, c)
}

func (c Change) isWorse() bool  { return c == Appeared || c == More }
func (c Change) isBetter() bool { return c == Vanished || c == Less }

func (r *Row) isOfCause(of *Row) bool { return r.Cause == of.Cause && r.Detail == of.Detail }
func (r *Row) isWhole() bool          { return r.CPU == nil && r.From == nil }

// moves finds causes without a difference on the whole, of which one part is larger and another smaller.
func moves(rows []Row) []Move {
	var list []Move
	for i := range rows {
		whole := &rows[i]
		if !whole.isWhole() || whole.Change != NotFound {
			continue
		}
		for _, of := range []string{ofCPU, ofProcess} {
			m := Move{Cause: whole.Cause, Title: whole.Title, Detail: whole.Detail, Of: of}
			for j := range rows {
				part := &rows[j]
				name, isPart := part.part(of)
				switch {
				case !isPart || !part.isOfCause(whole):
				case part.Change.isWorse():
					m.To = append(m.To, name)
				case part.Change.isBetter():
					m.From = append(m.From, name)
				}
			}
			if len(m.From) > 0 && len(m.To) > 0 {
				list = append(list, m)
			}
		}
	}
	return list
}

// What a cause moves between.
const (
	ofCPU     = "CPU"
	ofProcess = "process"
)

// part returns the CPU or the process that a row is about, if it is about one.
func (r *Row) part(of string) (name string, ok bool) {
	switch {
	case of == ofCPU && r.CPU != nil:
		return strconv.Itoa(*r.CPU), true
	case of == ofProcess && r.From != nil:
		return *r.From, true
	}
	return "", false
}

// verdict is on all rows. A cause that is as frequent as before, because of another process, is neither worse nor better; on another
// CPU it is worse for that.
func (r *Result) verdict() Verdict {
	if len(r.Reasons) > 0 {
		return Unknown
	}
	is := func(changed func(Change) bool) bool {
		return slices.ContainsFunc(r.Rows, func(row Row) bool { return changed(row.Change) && !r.onlyMoved(&row) })
	}
	switch {
	case is(Change.isWorse):
		return Worse
	case is(Change.isBetter):
		return Better
	}
	return Same
}

// onlyMoved reports whether a row is about a process from or to which a cause moved.
func (r *Result) onlyMoved(row *Row) bool {
	return row.From != nil && slices.ContainsFunc(r.Moved, func(m Move) bool {
		return m.Of == ofProcess && m.Cause == row.Cause && m.Detail == row.Detail
	})
}
