// SPDX-License-Identifier: Apache-2.0

package change

import "testing"

func TestList(t *testing.T) {
	c := Change{Path: "/f", From: "0-3", To: "", Kind: List{}}
	m := files("/f", "0,1,2,3")
	roundTrip(t, m, c)
	m.did(t, "write /f ", "write /f 0-3")
	check(t, c, map[string]Place{"0-1,2-3": AsBefore, "\n": AsAfter, "1": AsForeign, "x": AsForeign}, "/f: CPU 0-3 → no CPU")
}
