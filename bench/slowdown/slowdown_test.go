// SPDX-License-Identifier: Apache-2.0

package slowdown

import (
	"errors"
	"testing"
)

func measuredOf(peers ...result) []result {
	return append([]result{{observer: nobody, cost: []float64{-50, 100}, inAll: []float64{1, 1}}, {observer: "ours"}}, peers...)
}

func TestCheapest(t *testing.T) {
	cheap := result{observer: "cheap", cost: []float64{500, 600}, recorded: []float64{100, 99}}
	dear := result{observer: "dear", cost: []float64{900, 900}, recorded: []float64{100, 100}}
	for name, tc := range map[string]struct {
		peers []result
		want  string
	}{
		"the cheaper one":           {[]result{dear, cheap}, "cheap"},
		"one that recorded nothing": {[]result{{observer: "idle", cost: []float64{150, 150}, recorded: []float64{0, 89}}, dear}, "dear"},
		"rounds that do not count":  {[]result{{observer: "mixed", cost: []float64{1, 950}, recorded: []float64{0, 100}}, dear}, "dear"},
		"one that failed":           {[]result{{observer: "failed", err: errors.New("no")}, dear}, "dear"},
		"within the error":          {[]result{{observer: "free", cost: []float64{100}, recorded: []float64{100}}, dear}, ""},
		"none":                      {nil, ""},
	} {
		if got := cheapest(measuredOf(tc.peers...)); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}

func TestRoundsThatDoNotCount(t *testing.T) {
	mixed := result{observer: "mixed", cost: []float64{1, 950}, inAll: []float64{2, 960}, recorded: []float64{0, 100}}
	cost, recorded := tables(load{name: "calls"}, measuredOf(mixed), nil)
	if series, err := cost.Series("mixed"); err != nil || len(series) != 1 || series[0] != 950 {
		t.Errorf("costs %v, %v; want that of the second round", series, err)
	}
	if series, err := recorded.Series("mixed"); err != nil || len(series) != 2 {
		t.Errorf("recorded %v, %v; want both rounds", series, err)
	}
}
