// SPDX-License-Identifier: Apache-2.0

package proc

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"
)

const line = "12 (te) R 9 st) S 1 1 1 0 -1 69238880 4 0 5 0 120 345 0 0 20 0 1 0 1012 0 0 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 3 0 0"

func TestParseStat(t *testing.T) {
	want := Stat{State: "S", Flags: 69238880, MinorFaults: 4, MajorFaults: 5, User: 1200 * time.Millisecond, System: 3450 * time.Millisecond, Start: "1012", CPU: 3}
	if got, err := ParseStat(line); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	want.CPU = -1
	if got, err := ParseStat(line[:strings.Index(line, " 18446744073709551615")]); err != nil || got != want {
		t.Errorf("without the last fields: got %+v, %v, want %+v", got, err, want)
	}
	for _, text := range []string{"", ")", "12 (test) S", line[:strings.Index(line, " 1012")], strings.Replace(line, " 69238880", " x", 1), strings.Replace(line, " 345", " x", 1), strings.Replace(line, "17 3", "17 x", 1)} {
		if got, err := ParseStat(text); err == nil || got != (Stat{}) {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	}
	for state, ended := range map[string]bool{"R": false, "S": false, "T": false, "Z": true, "X": true} {
		if (Stat{State: state}).HasEnded() != ended {
			t.Errorf("%s: ended is not %v", state, ended)
		}
	}
}

func TestStatus(t *testing.T) {
	s := Status("Name:\ta: b\nTgid:\t12\nVmHWM:\t  340 kB\nSigCgt:\t00000001a0007efb\nCpus_allowed_list:\t0-3\nnonvoluntary_ctxt_switches:\t7")
	for name, want := range map[string]string{"Name": "a: b", "Cpus_allowed_list": "0-3", "Cpus": "", "nonvoluntary_ctxt_switches": "7", "voluntary_ctxt_switches": ""} {
		if got := s.Value(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]int64{"Tgid": 12, "VmHWM": 340, "Name": 0, "PPid": 0} {
		if got := s.Number(name); got != want {
			t.Errorf("%s is %d, want %d", name, got, want)
		}
	}
	if got, err := s.Mask("SigCgt"); err != nil || got != 0x1a0007efb {
		t.Errorf("SigCgt is %#x, %v", got, err)
	}
	for _, name := range []string{"Name", "SigPnd"} {
		if got, err := s.Mask(name); err == nil || got != 0 || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is %#x, %v", name, got, err)
		}
	}
}

func TestCgroup(t *testing.T) {
	for text, want := range map[string]struct {
		dir     string
		unified bool
	}{
		"":                              {"", false},
		"0::/\n":                        {"/", true},
		"0::/a/b:c\n":                   {"/a/b:c", true},
		"5:cpu:/x\n4:io:/y\n0::/a b\n":  {"/a b", true},
		"5:cpu:/x\n4:io:/y\n":           {"/x", false},
		"12:cpuset:/z\nnot\n1:name=s:/": {"/z", false},
	} {
		if dir, unified := parseCgroup(text); dir != want.dir || unified != want.unified {
			t.Errorf("%q: got %q, %v, want %q, %v", text, dir, unified, want.dir, want.unified)
		}
	}
}

func TestNumbered(t *testing.T) {
	files := fstest.MapFS{"proc/9/task/9/comm": {Data: []byte(" a \n")}, "proc/9/task/10/comm": {}, "proc/9/task/x": {}, "proc/self": {}, "proc/10": {}}
	if got, err := Threads(files, 9); err != nil || !slices.Equal(got, []int{10, 9}) {
		t.Errorf("threads %v, %v", got, err)
	}
	if got, err := Processes(files); err != nil || !slices.Equal(got, []int{10, 9}) {
		t.Errorf("processes %v, %v", got, err)
	}
	if got, err := Comm(files, Thread(9, 9)); err != nil || got != "a" {
		t.Errorf("name %q, %v", got, err)
	}
	if _, err := Threads(files, 8); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("threads of nobody: %v", err)
	}
}

// TestThisThread compares with what the kernel says otherwise.
func TestThisThread(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	files, pid, tid := os.DirFS("/"), os.Getpid(), unix.Gettid()
	threads, err := Threads(files, pid)
	if err != nil || !slices.Contains(threads, tid) {
		t.Errorf("thread %d is not among %v (%v)", tid, threads, err)
	}
	stat, err := ReadStat(files, Thread(pid, tid))
	if err != nil || stat.State != "R" || stat.HasEnded() || stat.CPU < 0 {
		t.Errorf("got %+v, %v", stat, err)
	}
	status, err := ReadStatus(files, Thread(pid, tid))
	if err != nil || status.Number("Pid") != int64(tid) || status.Number("Tgid") != int64(pid) {
		t.Errorf("got %q, %v", status, err)
	}
	if _, err := ReadStat(files, "proc/0"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of nobody: %v", err)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add(line)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseStat(text)
		if err == nil && (s.Start == "" || s.State == "" || strings.ContainsAny(s.Start+s.State, " \n")) {
			t.Errorf("%q: %+v", text, s)
		}
	})
}
