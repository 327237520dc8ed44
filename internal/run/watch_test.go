// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"testing"
)

// watching keeps what it is given to watch.
type watching struct {
	now  []int
	fail error // of taking back
}

func (w *watching) Watch(tid int) error {
	w.now = append(w.now, tid)
	return nil
}

func (w *watching) Unwatch(tid int) error {
	w.now = slices.DeleteFunc(w.now, func(n int) bool { return n == tid })
	return w.fail
}

// lists returns what each look at the threads of a process finds.
func lists(of ...[]int) func() ([]int, error) {
	return func() ([]int, error) {
		if len(of) == 0 {
			return nil, os.ErrNotExist
		}
		tids := of[0]
		of = of[1:]
		return tids, nil
	}
}

// Threads are watched that are there when there is no new one any more: neither one that was made meanwhile is
// missed, nor is the number watched of one that has ended, which another thread may have by now.
func TestWatchedThreadsAreThoseThatAreThere(t *testing.T) {
	for name, tc := range map[string]struct {
		looks [][]int
		want  []int
	}{
		"no change":         {[][]int{{7}, {7}}, []int{7}},
		"one comes":         {[][]int{{7}, {7, 8}, {7, 8}}, []int{7, 8}},
		"one goes":          {[][]int{{7, 8}, {7}}, []int{7}},
		"one for another":   {[][]int{{7, 8}, {7, 9}, {7, 9}}, []int{7, 9}},
		"as fast as looked": {[][]int{{7, 8}, {7, 9}, {7, 10}, {7}}, []int{7}},
		"all go":            {[][]int{{7}, {}}, []int{}},
	} {
		w := &watching{}
		if err := watchThreads(w, lists(tc.looks...)); err != nil || !slices.Equal(w.now, tc.want) {
			t.Errorf("%s: threads %v are watched, %v; want %v", name, w.now, err, tc.want)
		}
	}
	if err := watchThreads(&watching{}, lists([]int{7})); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a process that has ended: %v", err)
	}
	if err := watchThreads(&watching{fail: os.ErrInvalid}, lists([]int{7}, nil)); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("a number that cannot be taken back: %v", err)
	}
}

// A thread that has ended has no number to be watched.
func TestEndedThreadHasNoThreads(t *testing.T) {
	c := exec.Command("true")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	s := NewThread(os.DirFS("/"), c.Process.Pid)
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	if tids, err := s.threads(); err != nil || len(tids) != 0 {
		t.Errorf("threads %v, %v; want none", tids, err)
	}
	s = NewThread(os.DirFS("/"), os.Getpid())
	if tids, err := s.threads(); err != nil || !slices.Equal(tids, []int{os.Getpid()}) {
		t.Errorf("of this one: %v, %v", tids, err)
	}
}
