// SPDX-License-Identifier: Apache-2.0

package entries

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// architectures are those of the table, with their titles.
var architectures = []struct{ name, title string }{{"amd64", "x86-64"}, {"arm64", "arm64"}}

const markdownHead = `<!-- Generated from internal/entries/entries.toml by "go generate ./internal/entries"; do not edit. -->

# Entry points

Every entry point of the kernel, and how taskiso observes it. "taskiso entries" shows the same for the kernel at hand.

- **Event**: a tracepoint of its own, which names the entry.
- **Catch-all**: context tracking reports it on nohz_full CPUs, but not what it was; elsewhere it is not seen.
- **Counter**: the row of /proc/interrupts that counts it, but does not record when it came.

An entry with none of these is blind. The first C functions of all entries are noinstr: no kprobe and no function tracer can
be put there. Below the kernel, system management interrupts, the hypervisor and microcode take time that nothing
reports: only a gap in the task's own clock shows them.

The table for x86-64 is compared with the entry points of Linux 6.1, 6.12 and 7.2 by a test in virtual machines; that
for arm64 was made from the sources. In a Xen PV guest most entries also have a first part of their own (xen_asm_exc_*)
that leads to those here.
`

// WriteMarkdown writes the table as docs/entries.md.
func WriteMarkdown(w io.Writer) error {
	var b bytes.Buffer
	b.WriteString(markdownHead)
	for _, arch := range architectures {
		t, err := Load(arch.name)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "\n## %s\n\n| entry | what it is | event | catch-all | counter | what is missed, and why |\n|---|---|---|---|---|---|\n", arch.title)
		for _, e := range t.entries {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", e.name(), e.What, code(e.Events...), e.catchAll(), code(e.Row), e.Why)
		}
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("writing the table of entries: %w", err)
	}
	return nil
}

// name returns the symbol, with the part where several entries have the same.
func (e Entry) name() string {
	if e.Part == "" {
		return code(e.Symbol)
	}
	return code(e.Symbol) + ", " + e.Part
}

func (e Entry) catchAll() string {
	switch {
	case e.Inside:
		return "begins no stay"
	case e.Tracked:
		return "yes"
	default:
		return "no"
	}
}

func code(words ...string) string {
	var quoted []string
	for _, w := range words {
		if w != "" {
			quoted = append(quoted, "`"+w+"`")
		}
	}
	return strings.Join(quoted, ", ")
}
