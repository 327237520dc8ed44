// SPDX-License-Identifier: Apache-2.0

package entries

import "testing"

func TestWithoutEmptyColumns(t *testing.T) {
	got := withoutEmptyColumns([][]string{{"a", "", "", "b"}, {"c", "", "d", ""}})
	if len(got[0]) != 3 || got[0][2] != "b" || got[1][1] != "d" {
		t.Errorf("got %q", got)
	}
}
