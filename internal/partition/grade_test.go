// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"bytes"
	"slices"
	"testing"
)

func TestGradeGolden(t *testing.T) {
	for _, m := range machines() {
		t.Run(m.name, func(t *testing.T) {
			g, err := NewGrade(m.spec, m.tree(t).files(t))
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if err := g.WriteText(&b); err != nil {
				t.Fatal(err)
			}
			compareGolden(t, m.name+".grade", b.Bytes())
		})
	}
}

// TestGradeOrder: the tick, where it goes on, comes before all else; what a
// partition has ended is not in the grade any more.
func TestGradeOrder(t *testing.T) {
	m := server(256, 300)
	spec := Spec{CPUs: "8-63,136-191"}
	g, err := NewGrade(spec, m.files(t))
	if err != nil {
		t.Fatal(err)
	}
	if first := g.Hazards[0]; first.Name != "nohz_full" || first.When != Reboot {
		t.Errorf("first is %+v, want the tick", first)
	}
	m.add("proc/sys/vm/stat_interval", "120")
	after, err := NewGrade(spec, m.files(t))
	if err != nil {
		t.Fatal(err)
	}
	is := func(h Hazard) bool { return h.Name == "stat-interval" }
	if !slices.ContainsFunc(g.Hazards, is) || slices.ContainsFunc(after.Hazards, is) {
		t.Errorf("stat-interval: want it before only")
	}
}

// TestGradeRates: every setting and every word for boot has an expected rate.
func TestGradeRates(t *testing.T) {
	for _, k := range knobs() {
		if k.name != cycleSetting && k.rate.text == "" {
			t.Errorf("setting %s has no rate", k.name)
		}
	}
	for _, p := range bootParameters() {
		if r := bootRates[p.name]; r.text == "" || r.what == "" {
			t.Errorf("parameter %s has no rate", p.name)
		}
	}
}
