// SPDX-License-Identifier: Apache-2.0

package cause

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/taskiso/taskiso/internal/stay"
	"github.com/taskiso/taskiso/internal/trace"
)

func load(t *testing.T) *Catalogue {
	t.Helper()
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	if len(c.rules) == 0 {
		t.Fatal("the catalogue is empty")
	}
	return c
}

// entries maps the tracepoints that say what entered the kernel to their kinds.
func entries() map[string]trace.Kind {
	known := make(map[string]trace.Kind)
	for k := range trace.Kind(255) {
		if s := (stay.Stay{Entry: trace.Event{Kind: k}}); s.Named() {
			known[k.String()] = k
		}
	}
	return known
}

func TestCatalogue(t *testing.T) {
	known := entries()
	word := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	seen := make(map[string]bool)
	for _, r := range load(t).rules {
		if !word.MatchString(r.ID) || seen[r.ID] {
			t.Errorf("id %q: want one of its own, of small letters, digits and hyphens", r.ID)
		}
		seen[r.ID] = true
		if r.Title == "" || strings.TrimSpace(r.Title) != r.Title {
			t.Errorf("%s: title %q", r.ID, r.Title)
		}
		if details[r.Detail] == nil {
			t.Errorf("%s: unknown detail %q", r.ID, r.Detail)
		}
		for _, e := range r.Entry {
			if _, ok := known[e]; !ok {
				t.Errorf("%s: %q is no tracepoint of an entry", r.ID, e)
			}
		}
		for _, f := range r.Function {
			if f == "" || f != strings.TrimSpace(f) {
				t.Errorf("%s: function %q", r.ID, f)
			}
		}
	}
}

// Every way into the kernel has a name.
func TestCatalogueNamesEveryEntry(t *testing.T) {
	c := load(t)
	for name, kind := range entries() {
		s := stay.Stay{Entry: trace.Event{Kind: kind}}
		if got := c.Of(&s, fakeNames{}); got.ID == "unnamed" {
			t.Errorf("no rule for an entry by %s", name)
		}
	}
}

func TestNoRuleIsHidden(t *testing.T) {
	for _, problem := range hidden(load(t).rules) {
		t.Error(problem)
	}
}

// situation is one way for a rule to match.
type situation struct {
	entry    string // "": none was seen
	function string // "": none of those that rules know
	signal   bool
}

// situations lists the least that each way to match r takes.
func (r rule) situations() []situation {
	var all []situation
	entries, functions := r.Entry, r.Function
	if len(entries) == 0 {
		entries = []string{""}
	}
	if len(functions) == 0 {
		functions = []string{""}
	}
	for _, e := range entries {
		for _, f := range functions {
			all = append(all, situation{e, f, r.Signal})
		}
	}
	return all
}

// takes tells whether r matches in every stay of that situation.
func (r rule) takes(s situation) bool {
	entry := slices.Contains(r.Entry, s.entry) || len(r.Entry) == 0 && s.entry == ""
	function := len(r.Function) == 0 || slices.Contains(r.Function, s.function)
	return entry && function && (!r.Signal || s.signal)
}

// hidden tells of situations for which a rule is made and that earlier ones take.
func hidden(rules []rule) []string {
	var problems []string
	for n, r := range rules {
		for _, s := range r.situations() {
			i := slices.IndexFunc(rules[:n], func(earlier rule) bool { return earlier.takes(s) })
			if i >= 0 {
				problems = append(problems, fmt.Sprintf("rule %s never matches entry %q with function %q: rule %s before it does",
					r.ID, s.entry, s.function, rules[i].ID))
			}
		}
	}
	return problems
}

func TestHiddenRulesAreFound(t *testing.T) {
	for _, tc := range []struct {
		name  string
		rules []rule
		want  int
	}{
		{"the same entry", []rule{{ID: "a", Entry: []string{"x"}}, {ID: "b", Entry: []string{"x"}}}, 1},
		{"another entry", []rule{{ID: "a", Entry: []string{"x"}}, {ID: "b", Entry: []string{"y"}}}, 0},
		{"one entry of two", []rule{{ID: "a", Entry: []string{"x"}}, {ID: "b", Entry: []string{"x", "y"}}}, 1},
		{"both entries, by two rules", []rule{{ID: "a", Entry: []string{"x"}}, {ID: "b", Entry: []string{"y"}}, {ID: "c", Entry: []string{"x", "y"}}}, 2},
		{"function after its entry", []rule{{ID: "a", Entry: []string{"x"}}, {ID: "b", Entry: []string{"x"}, Function: []string{"f"}}}, 1},
		{"function before its entry", []rule{{ID: "a", Entry: []string{"x"}, Function: []string{"f"}}, {ID: "b", Entry: []string{"x"}}}, 0},
		{"one function of two", []rule{
			{ID: "a", Entry: []string{"x"}, Function: []string{"f"}}, {ID: "b", Entry: []string{"x"}, Function: []string{"f", "g"}}}, 1},
		{"signal after everything unnamed", []rule{{ID: "a"}, {ID: "b", Signal: true}}, 1},
		{"signal before everything unnamed", []rule{{ID: "a", Signal: true}, {ID: "b"}}, 0},
		{"unnamed before an entry", []rule{{ID: "a"}, {ID: "b", Entry: []string{"x"}}}, 0},
	} {
		if got := hidden(tc.rules); len(got) != tc.want {
			t.Errorf("%s: got problems %q, want %d", tc.name, got, tc.want)
		}
	}
}

// Each rule names the stays it was made for.
func TestEachRuleMatches(t *testing.T) {
	c := load(t)
	for _, r := range c.rules {
		for _, situation := range r.situations() {
			s, names := stayIn(t, situation)
			got := c.Of(&s, names)
			if got.ID != r.ID || got.Title != r.Title {
				t.Errorf("stay with entry %q, function %q and signal %v: got %q, want %q",
					situation.entry, situation.function, situation.signal, got.ID, r.ID)
			}
			if r.Detail == "function" && got.Detail != cmp.Or(situation.function, otherFunction) {
				t.Errorf("rule %s: got detail %q, want function %q", r.ID, got.Detail, cmp.Or(situation.function, otherFunction))
			}
		}
	}
}

const otherFunction = "function_no_rule_knows"

// stayIn makes a stay of a situation, with the functions where the kernel shows
// them for such an entry.
func stayIn(t *testing.T, in situation) (stay.Stay, fakeNames) {
	t.Helper()
	const function = 0x100
	names := fakeNames{function: cmp.Or(in.function, otherFunction)}
	s := stay.Stay{Entry: trace.Event{Kind: trace.UserExit}}
	if in.entry != "" {
		s.Entry = trace.Event{Kind: entries()[in.entry], A: function}
		s.Inside = append(s.Inside, stay.Part{Event: s.Entry})
	}
	shows := map[trace.Kind]trace.Kind{
		trace.LocalTimerEnter:         trace.HRTimer,
		trace.CallFunctionEnter:       trace.CSDEnter,
		trace.CallFunctionSingleEnter: trace.CSDEnter,
	}
	kind, ok := shows[s.Entry.Kind]
	switch {
	case ok:
		s.Inside = append(s.Inside, stay.Part{Event: trace.Event{Kind: kind, A: function}})
	case in.function != "" && s.Entry.Kind != trace.NMI:
		t.Fatalf("function %s in a stay that %s entered: the kernel shows none there", in.function, in.entry)
	}
	if in.signal {
		s.Inside = append(s.Inside, stay.Part{Event: trace.Event{Kind: trace.Signal, A: 8}})
	}
	return s, names
}

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no TOML":        "[[cause",
		"an unknown key": "[[cause]]\nid = \"a\"\ntitle = \"a\"\nentrance = [\"sys_enter\"]",
		"a wrong type":   "[[cause]]\nid = \"a\"\nentry = \"sys_enter\"",
	} {
		if c, err := parse(text); err == nil || !strings.Contains(err.Error(), "catalogue") {
			t.Errorf("%s: got %+v, error %v", name, c, err)
		}
	}
}
