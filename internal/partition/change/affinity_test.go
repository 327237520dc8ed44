// SPDX-License-Identifier: Apache-2.0

package change

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
)

const testThread = "/proc/41/task/41"

func running(allowed, start string) *memory {
	return files(testThread+"/status", "Name:\ttest\nCpus_allowed_list:\t"+allowed+"\n",
		testThread+"/stat", "41 (test) S 1 1 1 0 -1 0"+strings.Repeat(" 0", 12)+" "+start+" 0 0")
}

func TestAffinity(t *testing.T) {
	c := Change{Path: testThread, From: "0-3", To: "0-1", Kind: Affinity{}, Start: "1041"}
	m := running("0-3", "1041")
	if ready, err := c.Ready(m); err != nil || !ready {
		t.Errorf("ready: %v, %v", ready, err)
	}
	if err := errors.Join(c.Apply(m), c.Restore(m)); err != nil { // it has its CPUs still, so that nothing is restored
		t.Error(err)
	}
	m.did(t, "affinity "+testThread+" 0-1")
	moved := running("0-1", "1041")
	if err := c.Restore(moved); err != nil {
		t.Error(err)
	}
	moved.did(t, "affinity "+testThread+" 0-3")
	check(t, c, map[string]Place{"0-3": AsBefore, "0,1": AsAfter, "3": AsForeign}, testThread+": CPU 0-3 → CPU 0-1")
}

// TestAffinityOfAnother: a thread that was moved or has ended meanwhile is left alone, also if its number was given anew.
func TestAffinityOfAnother(t *testing.T) {
	c := Change{Path: testThread, From: "0-3", To: "0-1", Kind: Affinity{}, Start: "1041"}
	for name, m := range map[string]*memory{"moved": running("2", "1041"), "another": running("0-3", "2000"), "gone": files()} {
		if ready, err := c.Ready(m); err != nil || ready {
			t.Errorf("%s: ready %v, %v", name, ready, err)
		}
	}
	for _, m := range []*memory{running("2", "2000"), files()} {
		if err := c.Restore(m); err != nil {
			t.Error(err)
		}
		m.did(t)
	}
}

// TestAffinityNoted: a thread that is only noted is not moved, and keeps what is left of its CPUs.
func TestAffinityNoted(t *testing.T) {
	c := Change{Path: testThread, From: "1-2", To: "1-2", Kind: Affinity{}, Start: "1041"}
	m := running("1-2", "1041")
	if err := c.Apply(m); err != nil {
		t.Error(err)
	}
	m.did(t)
	isolated, _ := cpulist.Parse("2-3")
	online, _ := cpulist.Parse("0-3")
	if got := c.Kept(isolated); got.String() != "1" {
		t.Errorf("keeps CPU %v, want 1", got)
	}
	for got, want := range map[string]bool{"1-2": true, "1": true, "0-1": true, "0-3": true, "0": false} {
		if c.GaveThread(got, isolated, online) != want {
			t.Errorf("CPU %s is given: %v, want %v", got, !want, want)
		}
	}
	if text := c.String(); text != testThread+": CPU 1-2" {
		t.Errorf("described as %q", text)
	}
}

// narrow is a cpuset that allows a thread none of the CPUs.
type narrow struct{ *memory }

func (narrow) SetAffinity(string, cpulist.Set) error { return unix.EINVAL }

func TestAffinityNotAllowed(t *testing.T) {
	c := Change{Path: testThread, From: "0-3", To: "0-1", Kind: Affinity{}, Start: "1041"}
	if err := c.Restore(narrow{running("2", "1041")}); err != nil {
		t.Errorf("%v; the cpuset of the thread decides", err)
	}
}
