// SPDX-License-Identifier: Apache-2.0

package change

import "testing"

func TestMask(t *testing.T) {
	c := Change{Path: "/f", From: "0000000f", To: "3", Kind: Mask{}}
	m := files("/f", "f")
	roundTrip(t, m, c)
	m.did(t, "write /f 3", "write /f 0000000f")
	check(t, c, map[string]Place{"00000000,0000000f": AsBefore, "03": AsAfter, "1": AsForeign}, "/f: CPU 0-3 → CPU 0-1")
}
