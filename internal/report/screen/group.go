// SPDX-License-Identifier: Apache-2.0

package screen

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/report"
)

// Order is what comes first on a screen.
type Order = string

// Orders.
const (
	ByTime    Order = "time"
	ByCount   Order = "count"
	ByLongest Order = "longest"
)

// Orders returns all, the usual one first.
func Orders() []Order { return []Order{ByTime, ByCount, ByLongest} }

// figures are those of breaks.
type figures struct {
	count, unmeasured uint64
	total, longest    time.Duration
	waited            time.Duration
}

func (f *figures) add(o *figures) {
	f.count += o.count
	f.unmeasured += o.unmeasured
	f.total += o.total
	f.waited += o.waited
	f.longest = max(f.longest, o.longest)
}

// compare puts what matters more first.
func compare(o Order, a, b *figures) int {
	byTime, byCount, byLongest := cmp.Compare(b.total, a.total), cmp.Compare(b.count, a.count), cmp.Compare(b.longest, a.longest)
	switch o {
	case ByCount:
		return cmp.Or(byCount, byTime)
	case ByLongest:
		return cmp.Or(byLongest, byTime, byCount)
	default:
		return cmp.Or(byTime, byCount)
	}
}

// shown is the figure that decides the order.
func shown(o Order, f *figures) string {
	switch {
	case o == ByCount || f.unmeasured == f.count:
		return display.Count(f.count) + "×"
	case o == ByLongest:
		return display.Span(f.longest)
	default:
		return display.Span(f.total)
	}
}

// group is a cause with all its details, on all CPUs.
type group struct {
	figures
	id, title string
	parts     []part
	ways      []*way
}

// part is a cause with one detail.
type part struct {
	figures
	detail  string
	origins []report.Origin
}

// own reports whether it is the doing of the task itself.
func (g *group) own() bool {
	for _, prefix := range []string{"syscall", "page-fault", "exception"} {
		if strings.HasPrefix(g.id, prefix) {
			return true
		}
	}
	return false
}

// groupsOf sums up the causes of all CPUs, in the order of the screen, and notes what ends each.
func groupsOf(s *screen) []group {
	var groups []group
	for i := range s.report.CPUs {
		for j := range s.report.CPUs[i].Causes {
			groups = s.addCause(groups, &s.report.CPUs[i].Causes[j])
		}
	}
	slices.SortStableFunc(groups, func(a, b group) int { return compare(s.Sort, &a.figures, &b.figures) })
	for i := range groups {
		slices.SortStableFunc(groups[i].parts, func(a, b part) int { return compare(s.Sort, &a.figures, &b.figures) })
	}
	return groups
}

func (s *screen) addCause(groups []group, c *report.Cause) []group {
	i := slices.IndexFunc(groups, func(g group) bool { return g.id == c.ID })
	if i < 0 {
		i = len(groups)
		groups = append(groups, group{id: c.ID, title: s.clean(c.Title)})
	}
	g := &groups[i]
	f := figures{count: c.Count, unmeasured: c.Unmeasured, total: c.Total, longest: c.Max, waited: c.Waited}
	g.add(&f)
	if w := s.endedBy(c, &f); !slices.Contains(g.ways, w) {
		g.ways = append(g.ways, w)
	}
	j := slices.IndexFunc(g.parts, func(p part) bool { return p.detail == c.Detail })
	if j < 0 {
		j = len(g.parts)
		g.parts = append(g.parts, part{detail: c.Detail})
	}
	g.parts[j].add(&f)
	g.parts[j].origins = append(g.parts[j].origins, c.Origins...)
	return groups
}
