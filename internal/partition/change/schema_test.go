// SPDX-License-Identifier: Apache-2.0

package change

import (
	"maps"
	"testing"
)

func FuzzParseSchema(f *testing.F) {
	f.Add("    MB:0=100;1=100\n    L3:0=fffff;1=fffff\n")
	f.Add("L3:0=f;0=3")
	f.Add("L3:=")
	f.Fuzz(func(t *testing.T, text string) {
		domains, err := ParseSchema(text, "L3")
		if err != nil || len(domains) == 0 {
			return
		}
		again, err := ParseSchema(FormatSchema("L3", domains), "L3")
		if err != nil || !maps.Equal(again, domains) {
			t.Errorf("%q: %v, and then %v, %v", text, domains, again, err)
		}
	})
}

func TestSchema(t *testing.T) {
	c := Change{Path: "/f", From: "L3:0=fffff", To: "L3:0=ffff0", Kind: Schema{}}
	m := files("/f", "    MB:0=100;1=100\n    L3:0=fffff;1=fffff")
	if got, err := c.Read(m); err != nil || got != "L3:0=fffff" {
		t.Errorf("reads %q, %v", got, err)
	}
	roundTrip(t, m, c)
	m.did(t, "write /f L3:0=ffff0", "write /f L3:0=fffff")
	check(t, c, map[string]Place{"L3:0=fffff;1=3": AsBefore, "L3:0=ffff0;1=3": AsAfter, "L3:0=f": AsForeign}, "/f: L3:0=fffff → L3:0=ffff0")
	group := Change{Path: "/g", To: "L3:0=f", Kind: Schema{}}
	check(t, group, map[string]Place{"L3:0=f": AsBefore, "L3:0=3": AsBefore}, "/g: L3:0=f")
}
