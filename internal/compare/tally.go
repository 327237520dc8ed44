// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/taskiso/taskiso/internal/report"
)

// what is compared: see Row.
type what struct {
	cause, detail string
	cpu           int    // everywhere: on all
	from          string // anybody: by whomever
}

const (
	everywhere = -1
	anybody    = "\x00" // no process has that name
)

func (w what) compare(other what) int {
	return cmp.Or(cmp.Compare(w.cause, other.cause), cmp.Compare(w.detail, other.detail), cmp.Compare(w.cpu, other.cpu), cmp.Compare(w.from, other.from))
}

// wholeCause is all of the cause that something is a part of.
func (w what) wholeCause() what { return what{w.cause, w.detail, everywhere, anybody} }

func (w what) isOfProcess() bool { return w.from != anybody }

// tally is what the reports of both sides have.
type tally struct {
	sides  [2][]Run
	groups [2]map[what]group
	titles map[what]string
	// unclear are causes of which a report has more processes behind them than it keeps apart.
	unclear map[what]bool
}

func newTally(before, after []Run) *tally {
	t := &tally{
		sides: [2][]Run{before, after}, groups: [2]map[what]group{{}, {}},
		titles: map[what]string{}, unclear: map[what]bool{},
	}
	for side, runs := range t.sides {
		for i, run := range runs {
			for _, cpu := range run.Report.CPUs {
				for _, c := range cpu.Causes {
					t.addCause(side, i, cpu.CPU, &c)
				}
			}
		}
	}
	return t
}

// addCause takes in a cause on a CPU of run i of a side.
func (t *tally) addCause(side, i, cpu int, c *report.Cause) {
	w := what{c.ID, nameOf(c.Detail), everywhere, anybody}
	run := t.sides[side][i].Report
	within := spread(float64(c.Count), float64(c.Squares), run.Duration.Seconds())
	t.add(side, i, w, c.Title, c.Count, within)
	if len(run.CPUs) > 1 {
		on := w
		on.cpu = cpu
		t.add(side, i, on, c.Title, c.Count, within)
	}
	for _, o := range c.Origins {
		if o.IsOthers() {
			t.unclear[w] = true
			continue
		}
		by := w
		by.from = nameOf(o.Name)
		t.add(side, i, by, c.Title, o.Count, within) // they spread as the whole cause does, as far as a report shows
	}
}

func (t *tally) add(side, i int, w what, title string, count uint64, within dispersion) {
	g := t.groups[side][w]
	if g == nil {
		g = make(group, len(t.sides[side]))
		t.groups[side][w] = g
		t.titles[w] = title
	}
	g[i].count += float64(count)
	g[i].within = g[i].within.and(within)
}

// nameOf leaves the numbers of a worker of the kernel out: they are others in each run.
func nameOf(name string) string {
	if strings.HasPrefix(name, "kworker/") {
		return "kworker"
	}
	return name
}

// all returns what is compared, in a fixed order.
func (t *tally) all() []what {
	list := slices.SortedFunc(maps.Keys(t.titles), what.compare)
	return slices.DeleteFunc(list, func(w what) bool { return w.isOfProcess() && t.unclear[w.wholeCause()] })
}

// of is what the runs of a side have of one thing, with the time of each.
func (t *tally) of(side int, w what) group {
	g := slices.Clone(t.groups[side][w])
	if g == nil {
		g = make(group, len(t.sides[side]))
	}
	for i, run := range t.sides[side] {
		g[i].seconds = run.Report.Duration.Seconds()
		if w.cpu == everywhere {
			g[i].seconds *= float64(len(run.Report.CPUs))
		}
	}
	return g
}
