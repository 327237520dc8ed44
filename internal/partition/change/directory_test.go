// SPDX-License-Identifier: Apache-2.0

package change

import "testing"

func TestDirectory(t *testing.T) {
	for dir, member := range map[string]string{"/sys/fs/cgroup/x": "cgroup.procs", "/sys/fs/resctrl/x": "tasks"} {
		c := Make(dir)
		m := files()
		roundTrip(t, m, c)
		m.did(t, "mkdir "+dir, "rmdir "+dir)
		check(t, c, map[string]Place{"": AsBefore, "present": AsAfter}, dir+": made")
		if got, err := c.Read(m); err != nil || got != Absent {
			t.Errorf("%s: reads %q, %v", dir, got, err)
		}
		m.files[dir+"/"+member] = ""
		if got, err := c.Read(m); err != nil || got != Present || c.Directory() != dir || !c.IsInFile() {
			t.Errorf("%s: reads %q, %v; makes %q", dir, got, err, c.Directory())
		}
	}
}
