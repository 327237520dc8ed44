// SPDX-License-Identifier: Apache-2.0

package thread

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/proc"
	"github.com/taskiso/taskiso/internal/vmtest"
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

func TestBegan(t *testing.T) {
	for _, test := range []struct {
		shown string
		ahead time.Duration
		want  string
	}{
		{"1012", 0, "1012"},
		{"8641012", 24 * time.Hour, "1012"},
		{"1512", 5*time.Second + 3*time.Millisecond, "1012"}, // or 1011
		{"512", -5 * time.Second, "1012"},
		{"511", -5*time.Second - 3*time.Millisecond, "1012"}, // or 1011
		{"x", time.Second, ""},
	} {
		if got, err := began(test.shown, test.ahead); got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s with a clock %v ahead: %q, %v; want %q", test.shown, test.ahead, got, err, test.want)
		}
	}
	for _, test := range []struct {
		a, b string
		want bool
	}{{"1012", "1012", true}, {"1012", "1013", true}, {"1012", "1011", true}, {"1012", "1014", false}, {"", "1012", false}, {"", "", true}} {
		if got := Same(test.a, test.b); got != test.want {
			t.Errorf("%q and %q are the same: %v", test.a, test.b, got)
		}
	}
}

func init() { runtime.LockOSThread() } // TestMain runs on the first thread, whose namespaces are those of the process in /proc

// startVariable makes the test binary print the start of the thread that it names.
const startVariable = "TASKISO_TEST_START"

func TestMain(m *testing.M) {
	if dir := os.Getenv(startVariable); dir == "all" {
		before, err := os.Readlink("/proc/self/ns/time")
		if err == nil {
			err = unix.Unshare(unix.CLONE_NEWTIME) // of the first thread
		}
		if err == nil {
			_, err = All(os.DirFS("/"))
		}
		fmt.Println(before, err)
		return
	} else if dir != "" {
		th, err := Read(os.DirFS("/"), dir)
		fmt.Println(th.Start, err)
		return
	}
	os.Exit(m.Run())
}

// A journal that was written in one time namespace is read in another.
func TestStartInTimeNamespace(t *testing.T) {
	dir := proc.Thread(os.Getpid(), os.Getpid())
	here, err := Read(os.DirFS("/"), dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, ahead := range []time.Duration{0, 24 * time.Hour, 1500*time.Microsecond + time.Hour} {
		c := exec.Command("/proc/self/exe")
		c.Env = append(os.Environ(), startVariable+"="+dir)
		out := vmtest.InTimeNamespace(t, ahead, c)
		if start, _, _ := strings.Cut(out, " "); !Same(start, here.Start) {
			t.Errorf("%v ahead: begun at %q, here at %s", ahead, out, here.Start)
		}
	}
}

// Where the kernel shows the offsets of another time namespace, nobody knows when a thread began.
func TestOffsetsOfAnotherTimeNamespace(t *testing.T) {
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), startVariable+"=all")
	out := vmtest.InTimeNamespace(t, time.Hour, c)
	if here, err := os.Readlink("/proc/self/ns/time"); err != nil || strings.HasPrefix(out, here) {
		t.Skip("this kernel does not enter a time namespace at exec")
	}
	if !strings.Contains(out, "start taskiso from a shell in its time namespace") || strings.Count(out, "\n") != 1 {
		t.Errorf("got %q", out)
	}
}
