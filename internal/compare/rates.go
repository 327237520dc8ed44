// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat/distuv"
)

// sample is how often something happened in one run.
type sample struct {
	count   float64
	seconds float64    // observed, of all CPUs together
	within  dispersion // from second to second
}

// group is the runs of one side.
type group []sample

func (g group) count() float64 {
	sum := 0.0
	for _, s := range g {
		sum += s.count
	}
	return sum
}

func (g group) seconds() float64 {
	sum := 0.0
	for _, s := range g {
		sum += s.seconds
	}
	return sum
}

func (g group) rate() float64 { return g.count() / g.seconds() }

// dispersion is by how much more counts vary than those of events that know nothing of each other, whose variance is
// their mean: chi square by its degrees of freedom, 1 for such events. Without freedom nothing is known.
type dispersion struct{ chi, freedom float64 }

// factor is that of the estimate. Less than chance makes no comparison surer: of few runs it is an accident more often than not.
func (d dispersion) factor() float64 { return max(1, d.chi/d.freedom) }

// and is that of both.
func (d dispersion) and(other dispersion) dispersion {
	return dispersion{d.chi + other.chi, d.freedom + other.freedom}
}

// between is the dispersion from run to run: Pearson's chi square of the counts of both groups, each about its own rate.
func between(before, after group) dispersion {
	chi := 0.0
	for _, g := range []group{before, after} {
		rate := g.rate()
		for _, s := range g {
			if want := rate * s.seconds; want > 0 {
				chi += (s.count - want) * (s.count - want) / want
			}
		}
	}
	return dispersion{chi, float64(len(before) + len(after) - 2)}
}

// spread is the dispersion from second to second on one CPU of a run in which something happened so often, of which squares is
// the sum of the squared number in each second.
func spread(count, squares, seconds float64) dispersion {
	if count == 0 || squares == 0 || seconds < 2 {
		return dispersion{}
	}
	mean := count / seconds
	return dispersion{(squares - count*mean) / mean, seconds - 1}
}

// within is the dispersion from second to second of all runs together.
func within(before, after group) dispersion {
	sum := dispersion{}
	for _, s := range slices.Concat(before, after) {
		sum = sum.and(s.within)
	}
	return sum
}

// comparison is the ratio of the rates of two groups, after by before, and how well it is known.
type comparison struct {
	ratio, low, high float64 // of the rates, with an interval that has the true one in 95 of 100 cases; high may be infinite
	p                float64 // how likely rates at least as different are if the true ones are equal
	dispersion       float64
}

// level is the chance of a false alarm in a whole comparison, and that of an interval without the true ratio.
const level = 0.05

// compareRates compares two groups, each with at least one run of more than 0 seconds. The interval and p are the most careful
// of three: that of counts with no more than chance in them, which is exact, and those with each dispersion that is known. A
// dispersion of a few runs is known badly, and Student's and Fisher's distributions with its few degrees of freedom show how
// badly: without them, of runs that vary by a third, two on each side, every third comparison was a false alarm (TestFalseAlarms).
func compareRates(before, after group) comparison {
	c := exact(before, after)
	c.ratio = after.rate() / before.rate()
	if before.count() == 0 && after.count() == 0 {
		c.ratio = 1
	}
	c.dispersion = 1
	for _, d := range []dispersion{between(before, after), within(before, after)} {
		if d.freedom == 0 {
			continue
		}
		c.dispersion = max(c.dispersion, d.factor())
		wide := dispersed(before, after, d)
		c.low, c.high, c.p = min(c.low, wide.low), max(c.high, wide.high), max(c.p, wide.p)
	}
	return c
}

// exact compares counts as if they varied by chance only. Of all that were counted, the share that falls into the second group
// is then binomial, and Clopper's and Pearson's interval of that share is one of the ratio.
func exact(before, after group) comparison {
	a, b := before.count(), after.count()
	time := before.seconds() / after.seconds()
	ratio := func(share float64) float64 { return share / (1 - share) * time }
	c := comparison{low: 0, high: math.Inf(1), p: 1}
	if b > 0 {
		c.low = ratio(mathext.InvRegIncBeta(b, a+1, level/2))
	}
	if a > 0 {
		c.high = ratio(mathext.InvRegIncBeta(b+1, a, 1-level/2))
	}
	if a+b > 0 {
		equal := 1 / (1 + time) // the share if the rates are equal
		atLeast, atMost := 1.0, 1.0
		if b > 0 {
			atLeast = mathext.RegIncBeta(b, a+1, equal)
		}
		if a > 0 {
			atMost = 1 - mathext.RegIncBeta(b+1, a, equal)
		}
		c.p = min(1, 2*min(atLeast, atMost))
	}
	return c
}

// dispersed compares counts that vary by more than chance: p is that of the F test of a quasi-Poisson model with one rate against
// two, and the interval is that of the logarithm of the ratio, with Student's t. A count of 0 is taken for 1/2 there.
func dispersed(before, after group, d dispersion) comparison {
	a, b := before.count(), after.count()
	if a+b == 0 {
		return comparison{low: 0, high: math.Inf(1), p: 1}
	}
	f := distuv.F{D1: 1, D2: d.freedom}
	c := comparison{p: f.Survival(deviance(before, after) / d.factor())}
	a, b = max(a, 0.5), max(b, 0.5)
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: d.freedom}.Quantile(1 - level/2)
	centre, width := math.Log(b/after.seconds())-math.Log(a/before.seconds()), t*math.Sqrt(d.factor()*(1/a+1/b))
	c.low, c.high = math.Exp(centre-width), math.Exp(centre+width)
	return c
}

// deviance is twice the logarithm of how much more likely the counts are with two rates than with one.
func deviance(before, after group) float64 {
	one := (before.count() + after.count()) / (before.seconds() + after.seconds())
	sum := 0.0
	for _, g := range []group{before, after} {
		if n := g.count(); n > 0 {
			sum += n * math.Log(n/(one*g.seconds()))
		}
	}
	return max(0, 2*sum)
}

// holm raises each p to what it is worth among all of them (S. Holm, A simple sequentially rejective multiple test
// procedure, 1979): the chance that any is below a level although nothing differs is that level at most.
func holm(ps []float64) []float64 {
	order := make([]int, len(ps))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(ps[i], ps[j]) })
	adjusted, least := make([]float64, len(ps)), 0.0
	for rank, i := range order {
		least = max(least, min(1, ps[i]*float64(len(ps)-rank)))
		adjusted[i] = least
	}
	return adjusted
}
