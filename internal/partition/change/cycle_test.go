// SPDX-License-Identifier: Apache-2.0

package change

import "testing"

func TestCycle(t *testing.T) {
	c := Change{Path: "/f", From: "1", To: "1", Kind: Cycle{}}
	m := files("/f", "1")
	roundTrip(t, m, c)
	m.did(t, "write /f 0", "write /f 1", "write /f 1")
	check(t, c, map[string]Place{"1": AsBefore, "0": AsForeign}, "/f: 1 → 0 → 1")
}
