// SPDX-License-Identifier: Apache-2.0

package change

import "testing"

func TestChoice(t *testing.T) {
	c := Change{Path: "/f", From: "madvise", To: "never", Kind: Choice{}}
	m := files("/f", "always [madvise] never")
	if got, err := c.Read(m); err != nil || got != "madvise" {
		t.Errorf("reads %q, %v", got, err)
	}
	roundTrip(t, m, c)
	m.did(t, "write /f never", "write /f madvise")
	check(t, c, map[string]Place{"always [madvise] never": AsBefore, "never": AsAfter, "[always] madvise never": AsForeign}, "/f: madvise → never")
}
