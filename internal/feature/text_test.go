// SPDX-License-Identifier: Apache-2.0

package feature

import (
	"fmt"
	"testing"
)

// Features that lack privileges are one row, with one next step; a single one is as any other.
func TestRowsOfFeaturesWithoutPrivileges(t *testing.T) {
	yes := Feature{Name: "clock", Gives: "times", Answer: Yes}
	calls := Feature{Name: "calls", Gives: "isolation on request", Answer: Unknown, Reason: "permission denied", Denied: true, Next: "run as root"}
	maps := Feature{Name: "maps", Gives: "events", Answer: Unknown, Reason: "permission denied", Denied: true, Next: "run with CAP_BPF"}
	for _, tc := range []struct {
		name string
		list []Feature
		want [][]string
	}{
		{"none", []Feature{yes}, [][]string{{"yes", "clock", "times"}}},
		{"one", []Feature{yes, calls}, [][]string{
			{"unknown", "calls", "isolation on request: not tried without privileges"}, {"", "", "→ run as root"}, {"yes", "clock", "times"},
		}},
		{"two", []Feature{calls, yes, maps}, [][]string{
			{"unknown", "2 features", "not tried without privileges: calls, maps"}, {"", "", "→ run as root"}, {"yes", "clock", "times"},
		}},
	} {
		if got := Rows(tc.list); fmt.Sprint(got) != fmt.Sprint(tc.want) {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}
