// SPDX-License-Identifier: Apache-2.0

package longest

import (
	"slices"
	"testing"
	"time"
)

func TestKeep(t *testing.T) {
	type thing struct {
		d    time.Duration
		name string
	}
	var list []thing
	for _, v := range []thing{{5, "a"}, {9, "b"}, {5, "c"}, {1, "d"}, {7, "e"}, {5, "f"}, {5, "g"}, {9, "h"}} {
		list = Keep(list, v, 4, func(v thing) time.Duration { return v.d })
	}
	if want := []thing{{9, "h"}, {9, "b"}, {7, "e"}, {5, "g"}}; !slices.Equal(list, want) {
		t.Errorf("got %v, want %v", list, want)
	}
	if got := Keep(nil, thing{1, "a"}, 0, func(v thing) time.Duration { return v.d }); len(got) != 0 {
		t.Errorf("none are to be kept: %v", got)
	}
}
