// SPDX-License-Identifier: Apache-2.0

package cause

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/taskiso/taskiso/internal/remedy"
)

// WriteMarkdown writes the catalogue as docs/causes.md.
func (c *Catalogue) WriteMarkdown(w io.Writer) error {
	var b bytes.Buffer
	b.WriteString(markdownHead)
	provoked, err := Provoked()
	if err != nil {
		return err
	}
	b.WriteString("| id | what it is | remedies | provoked on |\n|---|---|---|---|\n")
	for _, row := range c.rows {
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s | %s |\n", row.ID, row.ID, row.Title, strings.Join(row.Kinds(), ", "),
			strings.Join(provokedOn(provoked, row.ID), ", "))
	}
	writeProvocations(&b, provoked)
	for _, row := range c.rows {
		c.markdownRow(&b, row)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("writing the catalogue of causes: %w", err)
	}
	return nil
}

const markdownHead = `<!-- Generated from internal/cause/catalogue.toml by "go generate ./internal/cause"; do not edit. -->

# Causes

Causes that can enter the kernel on a CPU that should be left alone, how taskiso recognises each, and what removes it.
"taskiso explain ID" shows one of them, and which of its remedies apply on the machine at hand.

A remedy at **run time** is a setting of the running system, one at **boot** a boot parameter or a setting of the
firmware, one in the **program** a change in the program or in how it is started. N and CPULIST stand for the isolated
CPUs, HOUSEKEEPING for the others. Rules are tried in this order and the first that matches names a stay.

"Provoked on" lists the kernels on which a test made the cause with a real operation and found it named so, with its
origin; see [Provocations](#provocations). The others rest on the sources given.

`

// Kinds returns the kinds of the row's remedies, without repetition.
func (row Row) Kinds() []string {
	var kinds []string
	for _, kind := range remedy.Kinds() {
		for _, r := range row.Remedies {
			if r.Kind == kind {
				kinds = append(kinds, kind)
				break
			}
		}
	}
	return kinds
}

func (c *Catalogue) markdownRow(b *bytes.Buffer, row Row) {
	fmt.Fprintf(b, "\n## %s\n\n**%s.** %s\n\n", row.ID, row.Title, row.Explanation)
	if row.Visible != "" {
		fmt.Fprintf(b, "No event names it. It shows %s.\n\n", row.Visible)
	} else {
		fmt.Fprintf(b, "Recognised by: %s.\n\n", c.rule(row.ID).markdown())
	}
	for _, r := range row.Remedies {
		fmt.Fprintf(b, "- %s", r)
		if len(r.Needs) > 0 {
			fmt.Fprintf(b, " (needs: %s)", codeList(r.Needs))
		}
		if len(r.Set) > 0 {
			fmt.Fprintf(b, " (done when: %s)", codeList(r.Set))
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(b, "\nKernels: %s. Sources: %s.\n", row.Kernels, sourceList(row.Sources))
}

// rule returns the rule of the row of that id, which must have one.
func (c *Catalogue) rule(id string) *rule {
	for _, rules := range c.rules {
		for _, r := range rules {
			if r.id == id {
				return r
			}
		}
	}
	return nil
}

// aspectTitles are the words for what a condition asks for.
var aspectTitles = map[aspect]string{
	absence: "the task was", syscallName: "system call", irqName: "device", faultKind: "access to a page that is", function: "function",
	sender: "on the sender's stack", signalName: "signal", tick: "the tick is kept for", next: "then runs", work: "then runs the work item",
}

func (r *rule) markdown() string {
	parts := []string{"entry " + codeList(r.entries)}
	for _, c := range r.conditions {
		parts = append(parts, aspectTitles[c.of]+" "+codeList(c.words))
	}
	return strings.Join(parts, "; ")
}

func codeList(words []string) string {
	quoted := make([]string, 0, len(words))
	for _, w := range words {
		quoted = append(quoted, "`"+w+"`")
	}
	return strings.Join(quoted, ", ")
}

func sourceList(sources []string) string {
	list := make([]string, 0, len(sources))
	for _, s := range sources {
		if strings.HasPrefix(s, "https://") {
			list = append(list, "<"+s+">")
		} else {
			list = append(list, "`"+s+"`")
		}
	}
	return strings.Join(list, ", ")
}
