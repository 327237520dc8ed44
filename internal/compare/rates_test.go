// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

func one(count, seconds float64) group { return group{{count: count, seconds: seconds}} }

// atLeast is how likely k or more of n fall into a share, summed up term by term.
func atLeast(k, n int, share float64) float64 {
	sum := 0.0
	for i := k; i <= n; i++ {
		a, _ := math.Lgamma(float64(n + 1))
		b, _ := math.Lgamma(float64(i + 1))
		c, _ := math.Lgamma(float64(n - i + 1))
		sum += math.Exp(a - b - c + float64(i)*math.Log(share) + float64(n-i)*math.Log(1-share))
	}
	return sum
}

// The ends of the interval are where what was counted, or more, and or less, has a chance of 1 in 40; and p is that of equal rates.
func TestExactIsExact(t *testing.T) {
	for _, tc := range []struct {
		a, b         int
		timeA, timeB float64
	}{{10, 20, 60, 60}, {3, 1, 600, 100}, {100, 130, 1, 1}, {1, 1, 1, 3}} {
		c := compareRates(one(float64(tc.a), tc.timeA), one(float64(tc.b), tc.timeB))
		shareOf := func(ratio float64) float64 { return ratio * tc.timeB / (tc.timeA + ratio*tc.timeB) }
		n := tc.a + tc.b
		low, high := atLeast(tc.b, n, shareOf(c.low)), 1-atLeast(tc.b+1, n, shareOf(c.high))
		if math.Abs(low-0.025) > 1e-6 || math.Abs(high-0.025) > 1e-6 {
			t.Errorf("%+v: %v to %v, whose chances are %v and %v", tc, c.low, c.high, low, high)
		}
		p := min(1, 2*min(atLeast(tc.b, n, shareOf(1)), 1-atLeast(tc.b+1, n, shareOf(1))))
		if math.Abs(c.p-p) > 1e-6 {
			t.Errorf("%+v: p is %v, want %v", tc, c.p, p)
		}
		if want := float64(tc.b) / float64(tc.a) * tc.timeA / tc.timeB; math.Abs(c.ratio-want) > 1e-9 || c.dispersion != 1 {
			t.Errorf("%+v: ratio %v, dispersion %v", tc, c.ratio, c.dispersion)
		}
	}
}

func TestExactWithNone(t *testing.T) {
	if c := compareRates(one(0, 60), one(0, 60)); c.p != 1 || c.ratio != 1 || c.low != 0 || !math.IsInf(c.high, 1) {
		t.Errorf("none and none: %+v", c)
	}
	if c := compareRates(one(0, 60), one(10, 60)); c.p > 0.01 || !math.IsInf(c.ratio, 1) || c.low < 1 || !math.IsInf(c.high, 1) {
		t.Errorf("none, then 10: %+v", c)
	}
	if c := compareRates(one(10, 60), one(0, 60)); c.p > 0.01 || c.ratio != 0 || c.low != 0 || c.high > 1 {
		t.Errorf("10, then none: %+v", c)
	}
}

// Runs that differ from each other as much as the sides do prove nothing.
func TestRunsThatDiffer(t *testing.T) {
	equal := compareRates(group{{count: 100, seconds: 60}, {count: 100, seconds: 60}}, group{{count: 200, seconds: 60}, {count: 200, seconds: 60}})
	unlike := compareRates(group{{count: 20, seconds: 60}, {count: 180, seconds: 60}}, group{{count: 50, seconds: 60}, {count: 350, seconds: 60}})
	if equal.p > 0.02 || equal.dispersion != 1 || equal.low < 1 {
		t.Errorf("twice as many in each run: %+v", equal)
	}
	if unlike.p < 0.1 || unlike.dispersion < 50 || unlike.low > 1 || unlike.high < 2 {
		t.Errorf("twice as many, of runs that differ tenfold: %+v", unlike)
	}
}

// So do seconds of one run: 100 in one second are one burst, 100 in as many seconds are not.
func TestBurstsOfARun(t *testing.T) {
	run := func(count, squares float64) group {
		return group{{count: count, seconds: 600, within: spread(count, squares, 600)}}
	}
	if c := compareRates(run(100, 100), run(200, 200)); c.p > 1e-6 || c.dispersion != 1 {
		t.Errorf("one by one: %+v", c)
	}
	if c := compareRates(run(100, 100*100), run(200, 2*100*100)); c.p < 0.1 || c.dispersion < 50 {
		t.Errorf("one burst of 100, then two: %+v", c)
	}
}

func TestHolm(t *testing.T) {
	got := holm([]float64{0.03, 0.01, 0.5, 0.011})
	for i, want := range []float64{0.06, 0.04, 0.5, 0.04} {
		if math.Abs(got[i]-want) > 1e-12 {
			t.Errorf("holm: %v", got)
			break
		}
	}
}

// world makes runs of many causes.
type world struct {
	random *rand.Rand
	runs   int
	// vary is the variance of the rate from run to run, by the square of its mean.
	vary float64
	// burst is how many come at once.
	burst float64
}

// side is a cause on one side, which is observed for ten minutes.
func (w *world) side(perSecond float64) group {
	var g group
	seconds := 600 / float64(w.runs)
	for range w.runs {
		rate := perSecond
		if w.vary > 0 {
			rate *= distuv.Gamma{Alpha: 1 / w.vary, Beta: 1 / w.vary, Src: w.random}.Rand()
		}
		s, squares := sample{seconds: seconds}, 0.0
		for range int(seconds) {
			n := 0.0
			if mean := rate / w.burst; mean > 0 {
				n = w.burst * distuv.Poisson{Lambda: mean, Src: w.random}.Rand()
			}
			s.count += n
			squares += n * n
		}
		s.within = spread(s.count, squares, seconds)
		g = append(g, s)
	}
	return g
}

// compare returns how many of 30 causes differ, and the first of them, whose rate after is times that of before.
func (w *world) compare(times float64) (found int, first comparison, isFound bool) {
	var ps []float64
	for cause := range 30 {
		rate, factor := 0.02*math.Pow(1.35, float64(cause)), 1.0 // 12 to 72,000 in ten minutes
		if cause == 0 {
			rate, factor = 0.5, times
		}
		c := compareRates(w.side(rate), w.side(rate*factor))
		if cause == 0 {
			first = c
		}
		ps = append(ps, c.p)
	}
	for i, p := range holm(ps) {
		if p < level {
			found++
			isFound = isFound || i == 0
		}
	}
	return found, first, isFound
}

// Of comparisons of equal runs, at most 1 in 20 finds any difference, in whichever way counts vary.
func TestFalseAlarms(t *testing.T) {
	const comparisons = 200
	for name, w := range map[string]world{
		"chance only, one run":              {runs: 1, burst: 1},
		"chance only, five runs":            {runs: 5, burst: 1},
		"bursts of 20, one run":             {runs: 1, burst: 20},
		"runs vary by a third, two a side":  {runs: 2, burst: 1, vary: 0.1},
		"runs vary by a third, five a side": {runs: 5, burst: 1, vary: 0.1},
		"both, ten a side":                  {runs: 10, burst: 20, vary: 0.1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w.random = rand.New(rand.NewPCG(1, 2))
			alarms := 0
			for range comparisons {
				if found, _, _ := w.compare(1); found > 0 {
					alarms++
				}
			}
			t.Logf("%d false alarms in %d comparisons", alarms, comparisons)
			if limit := comparisons/20 + 3*math.Sqrt(comparisons/20); float64(alarms) > limit {
				t.Errorf("%d false alarms in %d comparisons, want %d or few more", alarms, comparisons, comparisons/20)
			}
		})
	}
}

// A cause of 30 that comes twice as often is found in ten minutes a side, alone, and the interval has the true ratio.
func TestTwiceAsOften(t *testing.T) {
	for name, w := range map[string]world{
		"one run":                           {runs: 1, burst: 1},
		"five runs":                         {runs: 5, burst: 1},
		"five runs that vary by 7 per cent": {runs: 5, burst: 1, vary: 0.005},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w.random = rand.New(rand.NewPCG(3, 4))
			const comparisons = 100
			seen, right := 0, 0
			for range comparisons {
				found, c, isFound := w.compare(2)
				if isFound && found == 1 {
					seen++
				}
				if c.low <= 2 && 2 <= c.high {
					right++
				}
			}
			t.Logf("found alone %d times, with the ratio in the interval %d times, of %d", seen, right, comparisons)
			if seen < 85 || right < 90 {
				t.Errorf("found alone %d times, with the ratio in the interval %d times, of %d", seen, right, comparisons)
			}
		})
	}
}
