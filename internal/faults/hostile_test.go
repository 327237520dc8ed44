// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"strings"
	"testing"

	"github.com/taskiso/taskiso/pagefault"
)

// Names of files, functions and threads are the choice of the program.
func TestTextHasNoCommandsForTheTerminal(t *testing.T) {
	r := &Report{
		Mappings:  []Mapping{{Kind: pagefault.File, Name: "/tmp/\x1b[2J"}},
		Locations: []Location{{Function: "f\r\x1b[1A", File: "a\x07.c", Line: 1, Object: "x\u202e"}},
		Threads:   []Thread{{Name: "a\nb"}, {Name: "\x1b]0;t\x07"}},
		Longest:   []Fault{{Duration: 1, Function: "\x1b[8m"}},
	}
	var b strings.Builder
	if err := WriteText(&b, r); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{b.String(), Line(r.Longest[0])} {
		if strings.ContainsAny(text, "\x1b\r\x07\u202e") {
			t.Errorf("%q", text)
		}
	}
	if !strings.Contains(b.String(), `/tmp/\x1b[2J`) || !strings.Contains(b.String(), `a\nb`) {
		t.Errorf("names are missing:\n%s", b.String())
	}
}

// Code that is generated all the time has ever new stacks.
func TestStacksAreBounded(t *testing.T) {
	p := newProfile()
	const more = 1000
	for i := range uint64(maxPlaces + more) {
		p.add(&pagefault.Fault{IP: 0x1000 + i})
	}
	last := p.order[len(p.order)-1]
	if len(p.order) != maxPlaces+1 || last.mapping != "others" || last.sum.Total() != more {
		t.Errorf("%d stacks, the last of %q with %d faults; want %d, and %d of the others", len(p.order), last.mapping, last.sum.Total(), maxPlaces+1, more)
	}
}
