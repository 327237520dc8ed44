// SPDX-License-Identifier: Apache-2.0

package change

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
)

const testSlice = "/sys/fs/cgroup/taskiso_x.slice"

func TestSlice(t *testing.T) {
	c := Change{Path: testSlice, To: "2-3", Kind: Slice{}}
	m := files(testSlice+"/cpuset.cpus", "2,3") // as systemd makes it
	if err := c.Apply(m); err != nil {
		t.Fatal(err)
	}
	if err := c.Restore(m); err != nil {
		t.Fatal(err)
	}
	m.did(t, "start taskiso_x.slice 2-3", "stop taskiso_x.slice")
	check(t, c, map[string]Place{"": AsBefore, "2-3": AsAfter, "3": AsForeign}, testSlice+": made by systemd, with AllowedCPUs=2-3")
	if c.Directory() != testSlice || !c.IsDelegated() || c.IsInFile() {
		t.Errorf("makes %q, delegated %v, in a file %v", c.Directory(), c.IsDelegated(), c.IsInFile())
	}
	m = files(testSlice+"/cgroup.events", "populated 1\nfrozen 0")
	if err := c.Restore(m); !errors.Is(err, ErrBusy) {
		t.Errorf("with processes in it: %v, want ErrBusy", err)
	}
	m.did(t)
}

// TestSliceNotMade: systemd takes a request and does nothing.
func TestSliceNotMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Change{Path: testSlice, To: "2-3", Kind: Slice{}}
		if err := c.Apply(files()); err == nil || !strings.Contains(err.Error(), "has not done in 10s") {
			t.Errorf("%v", err)
		}
	})
}
