// SPDX-License-Identifier: Apache-2.0

package total

import (
	"fmt"
	"testing"
)

func TestOthers(t *testing.T) {
	all := make(ByCause[int])
	add := func(what Cause) { *all.Of(what, func(Cause) *int { return new(int) })++ }
	for i := range MaxApart + 10 {
		if all.Full() != (i >= MaxApart) {
			t.Fatalf("full after %d: %v", i, all.Full())
		}
		add(Cause{ID: "task", Title: "another task", Detail: fmt.Sprint(i)})
	}
	add(Cause{ID: "task", Title: "another task", Detail: "0"})
	add(Cause{ID: "tick", Title: "tick"})
	for what, want := range map[Cause]int{
		{"task", "another task", "0"}:    2,
		{"task", "another task", Others}: 10,
		{"tick", "tick", ""}:             1, // without a detail it cannot be many
	} {
		if got := all[what]; got == nil || *got != want {
			t.Errorf("%v: got %v, want %d", what, got, want)
		}
	}
	if len(all) != MaxApart+2 {
		t.Errorf("%d are kept apart", len(all))
	}
}
