// SPDX-License-Identifier: Apache-2.0

package thread

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

// files are those of the thread 12.
func files(status, stat string) fstest.MapFS {
	return fstest.MapFS{"proc/12/task/12/status": {Data: []byte(status)}, "proc/12/task/12/stat": {Data: []byte(stat)}}
}

func stat(flags int) string {
	return fmt.Sprintf("12 (te) st) S 1 1 1 0 -1 %d"+strings.Repeat(" 0", 12)+" 1012 0 0", flags)
}

// FuzzRead: a thread that is taken for one has CPUs.
func FuzzRead(f *testing.F) {
	f.Add("Name:\ttest\nCpus_allowed_list:\t0-3\n", "12 (te) st) S 1 1 1 0 -1 69238880 0 0 0 0 0 0 0 0 0 0 0 0 1012 0 0")
	f.Fuzz(func(t *testing.T, status, stat string) {
		th, err := Read(files(status, stat), "proc/12/task/12")
		if err == nil && (th.Allowed.IsEmpty() || th.Start == "" || th.Dir != "/proc/12/task/12") {
			t.Errorf("%q, %q: %+v", status, stat, th)
		}
	})
}

func TestInterrupt(t *testing.T) {
	for _, test := range []struct {
		name  string
		flags int
		want  string
	}{
		{"irq/24-nvme0q1", Kthread, "24"},
		{"irq/24-nvme0q1", 0, ""}, // a program may choose that name
		{"irq/x-nvme0q1", Kthread, ""},
		{"irq/24", Kthread, ""},
		{"kworker/u8:1", Kthread | NoSetAffinity, ""},
	} {
		th, err := Read(files("Name:\t"+test.name+"\nCpus_allowed_list:\t2-3\n", stat(test.flags)), "proc/12/task/12")
		if err != nil {
			t.Fatal(err)
		}
		if got := th.Interrupt(); got != test.want || th.Start != "1012" || th.Movable() == (test.flags&NoSetAffinity != 0) {
			t.Errorf("%s with flags %#x: interrupt %q, want %q; %+v", test.name, test.flags, got, test.want, th)
		}
	}
}
