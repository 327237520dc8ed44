// SPDX-License-Identifier: Apache-2.0

package automaton

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

func slot(t testing.TB) *Automaton {
	t.Helper()
	text, err := os.ReadFile("../../deferral/testdata/slot.dot")
	if err != nil {
		t.Fatal(err)
	}
	a, err := Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestParse(t *testing.T) {
	a := slot(t)
	if got := a.States(); !slices.Equal(got, []string{"serving", "served", "offline", "online"}) {
		t.Errorf("states %v", got)
	}
	if got := a.Events(); !slices.Equal(got, []string{"enter", "enter_take", "exit", "poll", "record", "serve", "take", "use"}) {
		t.Errorf("events %v", got)
	}
	if a.Initial() != "offline" || !a.Final("offline") || a.Final("online") || a.Final("nowhere") {
		t.Errorf("initial %s, final offline %v, online %v", a.Initial(), a.Final("offline"), a.Final("online"))
	}
}

func TestNext(t *testing.T) {
	a := slot(t)
	for _, c := range []struct {
		state, event, next string
		allowed            bool
	}{
		{"offline", "enter", "online", true},
		{"offline", "use", "offline", false},
		{"online", "something_else", "online", true},
		{"nowhere", "enter", "nowhere", false},
	} {
		if next, allowed := a.Next(c.state, c.event); next != c.next || allowed != c.allowed {
			t.Errorf("%s in %s: %s, %v", c.event, c.state, next, allowed)
		}
	}
}

func TestMonitor(t *testing.T) {
	m := slot(t).Monitor()
	for _, e := range strings.Fields("enter poll something_else take serve record use exit enter_take serve record exit") {
		if err := m.Event(e); err != nil {
			t.Fatalf("%s: %v", e, err)
		}
	}
	if v := m.Verdict(); v != Satisfied {
		t.Errorf("verdict %s", v)
	}
	for range 3 { // each is counted
		var v Violation
		if err := m.Event("use"); !errors.As(err, &v) || v != (Violation{"offline", "use"}) {
			t.Fatalf("use while offline: %v", err)
		}
	}
	if n, _ := m.Violations(); n != 3 || m.Verdict() != Violated {
		t.Errorf("%d violations, verdict %s", n, m.Verdict())
	}
}

// A stream that is joined in the middle may be in several states. What none of them
// allows is a violation, unless something was lost.
func TestNoPossibleStateAllowsIt(t *testing.T) {
	a, err := Parse(`digraph { "__init_a" -> "a"; "a"; "b"; "c";
		"a" -> "b" [label = "x"]; "b" -> "c" [label = "x"]; "c" -> "c" [label = "x"]; "a" -> "a" [label = "poke"]; }`)
	if err != nil {
		t.Fatal(err)
	}
	m := a.Monitor()
	m.Forget()
	for range 1000 {
		if err := m.Event("x"); err != nil {
			t.Fatalf("x: %v", err)
		}
		m.Event("poke")
	}
	if n, lost := m.Violations(); n != 1000 || lost != 0 || m.Verdict() != Violated {
		t.Errorf("%d violations, %d lost, verdict %s; want 1000, 0, %s", n, lost, m.Verdict(), Violated)
	}
	m = a.Monitor()
	m.Forget()
	m.Event("x")
	if err := m.Event("poke"); !errors.Is(err, Violation{"b or c", "poke"}) {
		t.Errorf("poke: %v", err)
	}
	m = a.Monitor()
	m.Lost(1)
	m.Event("x")
	if err := m.Event("poke"); err != nil || m.Verdict() != Unknown {
		t.Errorf("poke after a loss: %v, verdict %s", err, m.Verdict())
	}
}

func TestLostEventsLeadToUnknown(t *testing.T) {
	m := slot(t).Monitor()
	m.Event("enter")
	m.Lost(2) // say exit and enter_take
	if _, known := m.State(); known {
		t.Error("the state is known after a loss")
	}
	if err := m.Event("record"); err != nil {
		t.Errorf("a violation after a loss: %v", err)
	}
	if s, known := m.State(); s != "online" || !known {
		t.Errorf("record leaves %q, %v", s, known)
	}
	if m.Verdict() != Unknown {
		t.Errorf("verdict %s", m.Verdict())
	}
	if err := m.Event("record"); err == nil {
		t.Error("no violation although the state is known again")
	}
	if v, lost := m.Violations(); v != 1 || lost != 2 || m.Verdict() != Violated {
		t.Errorf("%d violations, %d lost, verdict %s", v, lost, m.Verdict())
	}
}

// Whatever is lost, a stream of allowed events is never called a violation.
func TestLossNeverInventsAViolation(t *testing.T) {
	stream := strings.Fields("enter poll take serve record use exit enter_take serve record poll exit enter exit")
	for gone := range 1 << len(stream) {
		m := slot(t).Monitor()
		for i, e := range stream {
			if gone>>i&1 != 0 {
				m.Lost(1)
			} else if err := m.Event(e); err != nil {
				t.Fatalf("losing %b: %v", gone, err)
			}
		}
		if want := map[bool]Verdict{true: Satisfied, false: Unknown}[gone == 0]; m.Verdict() != want {
			t.Fatalf("losing %b: %s", gone, m.Verdict())
		}
	}
}

func TestParseRefuses(t *testing.T) {
	const head = `digraph a { "__init_x" -> "x"; "x"; "y"; `
	for name, text := range map[string]string{
		"empty":             ``,
		"graph":             `graph a { }`,
		"no initial state":  `digraph a { "x"; "x" -> "x" [label = "e"]; }`,
		"two initial":       head + `"__init_y" -> "y"; }`,
		"initial elsewhere": `digraph a { "x"; "__init_y" -> "x"; }`,
		"not deterministic": head + `"x" -> "y" [label = "e"]; "x" -> "x" [label = "e"]; }`,
		"edge without":      head + `"x" -> "y"; }`,
		"empty event":       head + `"x" -> "y" [label = "e\n"]; }`,
		"guard":             head + `"x" -> "y" [label = "e;clk < 5"]; }`,
		"unknown node":      head + `"x" -> "z" [label = "e"]; }`,
		"no end":            head,
		"after the end":     head + `} }`,
		"string":            `digraph a { "x`,
		"character":         head + `! }`,
		"attributes":        head + `"x" [ = ] }`,
		"open attributes":   head + `"x" [ label`,
		"nesting":           head + strings.Repeat("{", 40) + strings.Repeat("}", 41),
		"edge to nowhere":   head + `"x" -> }`,
		"too long":          head + strings.Repeat(" ", maxText) + "}",
	} {
		if _, err := Parse(text); !errors.Is(err, ErrSyntax) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Parse(head + "}"); err != nil {
		t.Errorf("the head itself: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	text, err := os.ReadFile("../../deferral/testdata/slot.dot")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text), "enter use")
	f.Add(`digraph{__init_a->a;a->a[label=e]}`, "e e")
	f.Fuzz(func(t *testing.T, text, events string) {
		a, err := Parse(text)
		if err != nil {
			if !errors.Is(err, ErrSyntax) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		m := a.Monitor()
		for i, e := range strings.Fields(events) {
			if i%7 == 6 {
				m.Lost(1)
			}
			m.Event(e)
			if s, known := m.State(); known && !slices.Contains(a.States(), s) {
				t.Errorf("state %q", s)
			}
		}
		m.Verdict()
	})
}
