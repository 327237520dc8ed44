// SPDX-License-Identifier: Apache-2.0

package change

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskiso/taskiso/cpulist"
)

func TestParseSetup(t *testing.T) {
	banned, round, err := parseSetup("SLEEP 10 IRQ 24 LOAD 12 DIFF 3 CLASS 5 BANNED 00000001,0000000c")
	if err != nil || banned.String() != "2-3,32" || round != 10*time.Second {
		t.Errorf("%v, %v, %v", banned, round, err)
	}
	for _, answer := range []string{"", "SLEEP", "SLEEP 10 BANNED", "SLEEP 0 BANNED 0", "SLEEP x BANNED 0", "SLEEP 999999999 BANNED 0", "BANNED 0 SLEEP 10", "SLEEP 10 BANNED 0g"} {
		if banned, _, err := parseSetup(answer); err == nil {
			t.Errorf("%q was taken for %v", answer, banned)
		}
	}
}

func FuzzParseSetup(f *testing.F) {
	f.Add("SLEEP 10 BANNED 00000001,0000000c")
	f.Add("SLEEP 1 IRQ 9 LOAD 0 DIFF 0 CLASS 0 BANNED 0")
	f.Fuzz(func(t *testing.T, answer string) {
		_, round, err := parseSetup(answer)
		if err == nil && (round < time.Second || round > 24*time.Hour) {
			t.Errorf("%q: a round of %v", answer, round)
		}
	})
}

const testSocket = "/run/irqbalance/irqbalance7.sock"

// balancer imitates an irqbalance that takes a list at its next round.
func balancer(banned string) *memory {
	m := files("/proc/7/environ", "A=b\x00IRQBALANCE_BANNED_CPULIST=1\x00")
	next := banned
	m.asked = func(request string) (string, error) {
		if list, is := strings.CutPrefix(request, "settings cpus "); is {
			next = list
			return "", nil
		}
		now := banned
		if banned = next; next == "NULL" {
			banned = "1"
		}
		set, err := cpulist.ParseSysfs(strings.TrimPrefix(now, "-"))
		return "SLEEP 1 IRQ 9 BANNED " + set.Mask(), err
	}
	return m
}

func TestBanned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Change{Path: testSocket, From: "0", To: "0,2-3", Kind: Banned{}}
		m := balancer("0")
		roundTrip(t, m, c)
		m.did(t, "ask setup", "ask settings cpus 0,2-3", "ask setup", "ask settings cpus 0", "ask setup", "ask setup")
		check(t, c, map[string]Place{"0": AsBefore, "0,2,3": AsAfter, "3": AsForeign}, testSocket+": keeps off CPU 0 → CPU 0,2-3")
		own := balancer("1")
		if err := (Change{Path: testSocket, From: "1", To: "1-3", Kind: Banned{}}).Restore(own); err != nil || !slices.Contains(own.done, "ask settings cpus NULL") {
			t.Errorf("its own list: %v, done %q", err, own.done)
		}
	})
}

// TestBannedLater: what irqbalance has yet to do is outstanding for a round at most.
func TestBannedLater(t *testing.T) {
	c := Change{Path: testSocket, From: "0", To: "0,2-3", Kind: Banned{}}
	m := balancer("0")
	if err := c.Apply(m); err != nil {
		t.Fatal(err)
	}
	if got := c.Outstanding(m); !strings.Contains(got, `keeps off "0", not yet "0,2-3"`) {
		t.Errorf("outstanding: %q", got)
	}
	if got := c.Outstanding(m); got != "" {
		t.Errorf("outstanding after a round: %q", got)
	}
	if got := c.Delay(m); got != 3*time.Second || !c.IsDelegated() || c.IsInFile() {
		t.Errorf("delay %v, delegated %v, in a file %v", got, c.IsDelegated(), c.IsInFile())
	}
}

// TestBannedGoverns: where irqbalance puts an interrupt is its choice, unless that is an isolated CPU.
func TestBannedGoverns(t *testing.T) {
	cpus, _ := cpulist.Parse("2-3")
	asked := Change{Path: testSocket, Kind: Banned{}}
	irq := Change{Path: "/proc/irq/9/smp_affinity_list", Kind: List{}}
	for got, want := range map[string]bool{"0-1": true, "1-2": false, "": false, "x": false} {
		if asked.Governs(irq, got, cpus) != want {
			t.Errorf("CPU %q: governed %v, want %v", got, !want, want)
		}
	}
	if asked.Governs(Change{Path: "/f", Kind: List{}}, "0", cpus) || irq.Governs(irq, "0", cpus) {
		t.Error("other files, or other kinds, are governed")
	}
}

// TestBannedListTooLong: irqbalance would take the beginning of it.
func TestBannedListTooLong(t *testing.T) {
	m := balancer("0")
	if err := (Change{Path: testSocket, To: strings.Repeat("1,", 300), Kind: Banned{}}).Apply(m); err == nil {
		t.Error("no error")
	}
	m.did(t)
}

// TestBannedEmpty: an empty list is given back as a list that does not parse.
func TestBannedEmpty(t *testing.T) {
	m := balancer("2-3")
	if err := (Change{Path: testSocket, To: "2-3", Kind: Banned{}}).Restore(m); err != nil || !slices.Contains(m.done, "ask settings cpus -") {
		t.Errorf("%v, done %q", err, m.done)
	}
}

// What irqbalance started with: the mask goes before the list, wherever it stands, and of a variable that is there twice the
// first counts.
func TestOwnList(t *testing.T) {
	for environment, want := range map[string]string{
		"IRQBALANCE_BANNED_CPULIST=1\x00":                                  "1",
		"IRQBALANCE_BANNED_CPULIST=1\x00IRQBALANCE_BANNED_CPUS=c\x00":      "2-3",
		"IRQBALANCE_BANNED_CPUS=c\x00IRQBALANCE_BANNED_CPULIST=1\x00":      "2-3",
		"IRQBALANCE_BANNED_CPUS=\x00IRQBALANCE_BANNED_CPULIST=1\x00":       "1",
		"IRQBALANCE_BANNED_CPULIST=1\x00IRQBALANCE_BANNED_CPULIST=2-3\x00": "1",
		"XIRQBALANCE_BANNED_CPUS=c\x00IRQBALANCE_BANNED_CPULIST=\x00":      "0",
		"": "0",
	} {
		own, err := ownList(files("/proc/7/environ", environment, "/sys/devices/system/cpu/isolated", "0"), testSocket)
		if err != nil || own.String() != want {
			t.Errorf("%q: %v, %v; want %s", environment, own, err, want)
		}
	}
}
