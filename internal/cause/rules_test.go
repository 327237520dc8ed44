// SPDX-License-Identifier: Apache-2.0

package cause

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// stage is what a rule goes by. Where rules of different stages match the same
// stay, the earlier stage names it: why the thread was away, what the entry was for, then what it led to
// (a work item explains more than the thread that runs it), then what is known
// without either.
type stage int

const (
	byAbsence stage = iota
	byFunction
	bySignal
	byWork
	byTask
	byCarrier
	byEntry
)

func stageOf(c *Catalogue, r *rule) stage {
	switch {
	case len(r.Absence) > 0:
		return byAbsence
	case slices.Equal(r.Function, []string{"*"}): // any that no other rule knows
		return byEntry
	case len(r.Function) > 0 && !slices.ContainsFunc(r.Function, func(f string) bool { return c.carriers[f] }):
		return byFunction
	case len(r.Signal) > 0:
		return bySignal
	case len(r.Work) > 0:
		return byWork
	case len(r.Next) > 0:
		return byTask
	case len(r.Function) > 0:
		return byCarrier
	default:
		return byEntry
	}
}

// conflicts returns what is wrong with the order of the rules: a rule behind one
// that matches all it matches, or two that match the same stay while neither is
// the more special one.
func conflicts(c *Catalogue) []string {
	var problems []string
	for _, entry := range entries(c) {
		rules := c.rules[entry]
		for i, later := range rules {
			for _, earlier := range rules[:i] {
				switch {
				case !meet(earlier, later):
				case within(later, earlier):
					problems = append(problems, fmt.Sprintf("%s: %s can never match behind %s", entry, later.id, earlier.id))
				case within(earlier, later):
				case stageOf(c, earlier) >= stageOf(c, later):
					problems = append(problems, fmt.Sprintf("%s: %s and %s match the same stay", entry, earlier.id, later.id))
				}
			}
		}
	}
	return problems
}

func entries(c *Catalogue) []string {
	list := []string{Unnamed}
	for _, k := range entryKinds() {
		list = append(list, k.String())
	}
	return list
}

// meet reports whether some stay of an entry that both have matches both rules.
func meet(a, b *rule) bool {
	for of := range aspects {
		x, y := words(a, of), words(b, of)
		if x == nil || y == nil {
			continue
		}
		if !slices.ContainsFunc(x, func(w string) bool {
			return slices.ContainsFunc(y, func(v string) bool { return coversAll(w, v) || coversAll(v, w) })
		}) {
			return false
		}
	}
	return true
}

// within reports whether b matches every stay that a matches.
func within(a, b *rule) bool {
	for of := range aspects {
		x, y := words(a, of), words(b, of)
		if y == nil {
			continue
		}
		if x == nil {
			return false
		}
		for _, w := range x {
			if !slices.ContainsFunc(y, func(v string) bool { return coversAll(v, w) }) {
				return false
			}
		}
	}
	return true
}

// coversAll reports whether word stands for all that other stands for.
func coversAll(word, other string) bool {
	prefix, wide := strings.CutSuffix(word, "*")
	if wide {
		return strings.HasPrefix(other, prefix)
	}
	return word == other
}

func words(r *rule, of aspect) []string {
	for _, c := range r.conditions {
		if c.of == of {
			return c.words
		}
	}
	return nil
}

func load(t *testing.T) *Catalogue {
	t.Helper()
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRulesDoNotConflict(t *testing.T) {
	for _, problem := range conflicts(load(t)) {
		t.Error(problem)
	}
}

// TestConflictsAreFound makes sure that the test above can fail.
func TestConflictsAreFound(t *testing.T) {
	row := func(id, rule string) string {
		return fmt.Sprintf("[[cause]]\nid = %q\ntitle = \"t\"\nexplanation = \"e\"\nkernels = \"k\"\nsources = [\"s\"]\n%s\n", id, rule)
	}
	for name, tc := range map[string]struct {
		text string
		want int
	}{
		"special before general":   {row("a", `entry = ["nmi_handler"]`+"\nfunction = [\"f\"]") + row("b", `entry = ["nmi_handler"]`), 0},
		"general before special":   {row("b", `entry = ["nmi_handler"]`) + row("a", `entry = ["nmi_handler"]`+"\nfunction = [\"f\"]"), 1},
		"the same twice":           {row("a", `entry = ["sys_enter"]`) + row("b", `entry = ["sys_enter", "page_fault_user"]`), 1},
		"other entries":            {row("a", `entry = ["sys_enter"]`) + row("b", `entry = ["page_fault_user"]`), 0},
		"one word of several":      {row("a", "entry = [\"sys_enter\"]\nsyscall = [\"read\", \"write\"]") + row("b", "entry = [\"sys_enter\"]\nsyscall = [\"write\", \"open\"]"), 1},
		"a pattern over a word":    {row("a", "entry = [\"sys_enter\"]\nsyscall = [\"re*\", \"open\"]") + row("b", "entry = [\"sys_enter\"]\nsyscall = [\"read\", \"write\"]"), 1},
		"neither more special":     {row("a", "entry = [\"reschedule_entry\"]\nnext = [\"user a\"]") + row("b", "entry = [\"reschedule_entry\"]\nnext = [\"user *\"]\nsender = [\"f\"]"), 1},
		"function before its task": {row("a", "entry = [\"local_timer_entry\"]\nfunction = [\"f\"]") + row("b", "entry = [\"local_timer_entry\"]\nnext = [\"user *\"]"), 0},
		"task before its function": {row("b", "entry = [\"local_timer_entry\"]\nnext = [\"user *\"]") + row("a", "entry = [\"local_timer_entry\"]\nfunction = [\"f\"]"), 1},
	} {
		c, err := parse(tc.text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := conflicts(c); len(got) != tc.want {
			t.Errorf("%s: got %q, want %d", name, got, tc.want)
		}
	}
}

// TestEveryRuleNamesItsStays makes a stay for each word of each rule, and has
// it named.
func TestEveryRuleNamesItsStays(t *testing.T) {
	c := load(t)
	for _, entry := range entries(c) {
		for _, r := range c.rules[entry] {
			if len(r.Fault) > 0 && runtime.GOARCH != "amd64" {
				continue
			}
			for _, pick := range picks(r) {
				s, names := example(t, c, entry, pick)
				if got := c.Of(s, names); got.ID != r.id || got.Title != r.title {
					t.Errorf("%s: stay %v of %s is named %s", entry, pick, r.id, got.ID)
				}
			}
		}
	}
}

// picks returns one choice of words for each word of the rule, with the first
// one of every other condition.
func picks(r *rule) []map[aspect]string {
	first := make(map[aspect]string)
	for _, c := range r.conditions {
		first[c.of] = c.words[0]
	}
	all := []map[aspect]string{first}
	for _, c := range r.conditions {
		for _, w := range c.words[1:] {
			pick := make(map[aspect]string)
			for of, word := range first {
				pick[of] = word
			}
			pick[c.of] = w
			all = append(all, pick)
		}
	}
	return all
}

// fakeNames numbers the names that it is asked for.
type fakeNames struct {
	functions []string
	syscall   string
	device    string
}

func (n *fakeNames) addr(function string) uint64 {
	n.functions = append(n.functions, function)
	return uint64(len(n.functions))
}

func (n *fakeNames) Function(addr uint64) string {
	if addr == 0 || addr > uint64(len(n.functions)) {
		return fmt.Sprintf("%#x", addr)
	}
	return n.functions[addr-1]
}
func (n *fakeNames) Syscall(int) string { return n.syscall }
func (n *fakeNames) Device(int) string  { return n.device }
