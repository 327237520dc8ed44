// SPDX-License-Identifier: Apache-2.0

package cause

import (
	"errors"
	"regexp"
	"strings"
	"testing"
)

var idForm = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// sourceForm is a file of the kernel with a function in it, a file of its
// documentation, an address or a commit.
var sourceForm = regexp.MustCompile(`^([a-z0-9_/.-]+\.[chS]:\w+|arch/[a-z0-9_/.-]+\.h|Documentation/\S+|https://\S+|commit [0-9a-f]{12} \(.+\))$`)

func TestCatalogueIsComplete(t *testing.T) {
	for _, row := range load(t).Rows() {
		if !idForm.MatchString(row.ID) {
			t.Errorf("%s: an id is made of lower-case words and dashes", row.ID)
		}
		if n := sentences(row.Explanation); n != 2 {
			t.Errorf("%s: explained in %d sentences, want 2", row.ID, n)
		}
		if len(row.Remedies) == 0 {
			t.Errorf("%s: no remedy", row.ID)
		}
		for _, source := range row.Sources {
			if !sourceForm.MatchString(source) {
				t.Errorf("%s: source %q has an unknown form", row.ID, source)
			}
		}
		if strings.HasSuffix(row.Title, ".") {
			t.Errorf("%s: its title ends in a full stop", row.ID)
		}
	}
}

func sentences(text string) int {
	n := 0
	for _, word := range strings.Fields(text) {
		if strings.HasSuffix(word, ".") {
			n++
		}
	}
	return n
}

// reference is what looks like the id of a cause in a text.
var reference = regexp.MustCompile(`\b(tick|timer|ipi|work|task|stopper|irq|nmi|page-fault|syscall|split)-[a-z]+(-[a-z]+)*`)

// Every cause that a text refers to exists.
func TestCatalogueRefersToItself(t *testing.T) {
	c := load(t)
	found := 0
	for _, row := range c.Rows() {
		for _, id := range reference.FindAllString(row.Explanation+" "+row.Visible+" "+row.Kernels, -1) {
			found++
			if _, err := c.Row(id); err != nil {
				t.Errorf("%s refers to a cause that does not exist: %v", row.ID, err)
			}
		}
	}
	if found < 5 {
		t.Errorf("found only %d references: the pattern no longer fits the ids", found)
	}
	if _, err := c.Row("no-such-thing"); !errors.Is(err, ErrUnknown) {
		t.Errorf("got error %v, want ErrUnknown", err)
	}
}

func TestNear(t *testing.T) {
	c := load(t)
	for id, want := range map[string]string{
		"tik":             "tick",
		"vmstat":          "work-vmstat work-vmstat-refresh",
		"ipi-membarier":   "ipi-membarrier",
		"TICK":            "tick tick-rcu tick-perf timer-hrtick",
		"page_fault":      "page-fault page-fault-signal page-fault-protected",
		"something-else!": "",
		"":                "",
	} {
		if got := strings.Join(c.Near(id), " "); got != want {
			t.Errorf("near %q: got %q, want %q", id, got, want)
		}
	}
}

const minimal = `
[[cause]]
id = "a"
title = "t"
explanation = "e"
kernels = "k"
sources = ["s"]
`

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		`[[cause]`: "expected",
		strings.Replace(minimal, "title", "titel", 1): "unknown key cause.titel",
		strings.Replace(minimal, `"t"`, `" "`, 1):     `cause 1 "a": it has no title`,
		strings.Replace(minimal, `["s"]`, `[]`, 1):    "it has no sources",
		minimal: `neither "entry" nor "visible"`,
		minimal + `entry = ["sys_enter"]` + minimal + `entry = ["nmi_handler"]`:                           `cause 2 "a": there are two of that id`,
		minimal + `entry = ["sys_entre"]`:                                                                 `no event is called "sys_entre"`,
		minimal + `entry = ["csd_function_entry"]`:                                                        `no event is called "csd_function_entry"`,
		minimal + `entry = ["sys_enter"]` + "\n" + `detail = "foo"`:                                       `"foo" is not a detail`,
		minimal + `visible = "v"` + "\n" + `next = ["user x"]`:                                            "and a rule that names it",
		minimal + `visible = "v"` + "\n[[cause.remedy]]\n" + `kind = "hope"`:                              `kind "hope"`,
		minimal + `visible = "v"` + "\n[[cause.remedy]]\n" + `kind = "boot"`:                              `has no "do"`,
		minimal + `visible = "v"` + "\n[[cause.remedy]]\n" + "kind = \"boot\"\ndo = \"d\"\nset = [\"x\"]": `parsing condition "x"`,
	} {
		_, err := parse(text)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "reading the catalogue of causes: ") {
			t.Errorf("%s: got error %v, want %q", text, err, want)
		}
	}
	if _, err := parse(minimal + `visible = "v"`); err != nil {
		t.Errorf("unexpected error %v", err)
	}
}
