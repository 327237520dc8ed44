// SPDX-License-Identifier: Apache-2.0

package change

import (
	"strings"
	"testing"
)

func TestPartition(t *testing.T) {
	c := Change{Path: "/f", From: "member", To: "isolated", Kind: Partition{}}
	m := files("/f", "member")
	roundTrip(t, m, c)
	m.did(t, "write /f isolated", "write /f member")
	check(t, c, map[string]Place{"member": AsBefore, "isolated": AsAfter, "isolated invalid (why)": AsAfter, "root": AsForeign}, "/f: member → isolated")
}

// housekept is a kernel that makes no partition of CPUs isolated at boot.
type housekept struct{ *memory }

func (h housekept) Write(path, value string) error {
	if value == "isolated" {
		value = "isolated invalid (partition config conflicts with housekeeping setup)"
	}
	return h.memory.Write(path, value)
}

// TestPartitionOfHousekeeping: no partition that is not valid is left, if it may fail.
func TestPartitionOfHousekeeping(t *testing.T) {
	c := Change{Path: "/f", From: "member", To: "isolated", Kind: Partition{}, MayFail: true}
	m := housekept{files("/f", "member")}
	if err := c.Apply(m); !c.Refused(err) || m.files["/f"] != "member" {
		t.Errorf("%v, and it is %q; want a refusal and member", err, m.files["/f"])
	}
	c.MayFail = false
	if err := c.Apply(m); c.Refused(err) || err == nil || !strings.Contains(err.Error(), "use --partition none") {
		t.Errorf("%v, want the next step", err)
	}
}
