// SPDX-License-Identifier: Apache-2.0

package change

import (
	"fmt"
	"strings"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/kernfs"
)

// Text is a file that shows what was written to it.
type Text struct{}

// MarshalText returns the name in journals.
func (Text) MarshalText() ([]byte, error) { return []byte("text"), nil }

func (Text) value(text string) string { return strings.TrimSpace(text) }

func (Text) same(text, value string) bool { return strings.TrimSpace(text) == strings.TrimSpace(value) }

func (Text) read(files Files, c Change) (string, error) {
	text, err := files.Read(c.Path)
	return c.Kind.value(text), err
}

func (Text) ready(files Files, c Change) (bool, error) { return c.checkForeign(files) }

func (Text) apply(files Files, c Change) error { return write(files, c, c.To) }

func (Text) restore(files Files, c Change) error { return write(files, c, c.From) }

func (Text) place(c Change, got string) Place { return c.between(got, c.From) }

func (Text) describe(c Change) string { return c.step(showTabs) }

func (Text) traits() traits { return traits{} }

func (Text) delay(Files, Change) time.Duration { return 0 }

func (Text) outstanding(Files, Change) string { return "" }

func (Text) governs(Change, string, cpulist.Set) bool { return false }

// step describes a change as a step from one value to the other.
func (c Change) step(show func(string) string) string {
	return fmt.Sprintf("%s: %s → %s", c.Path, show(c.From), show(c.To))
}

func showTabs(value string) string { return strings.ReplaceAll(value, "\t", " ") }

// write writes a value and reads it back.
func write(files Files, c Change, value string) error {
	if err := files.Write(c.Path, value); err != nil {
		return err
	}
	got, err := files.Read(c.Path)
	if err != nil {
		return fmt.Errorf("verifying %q: %w", value, err)
	}
	if !c.Kind.same(got, value) {
		return fmt.Errorf("writing %q to %s: %w: %q", value, c.Path, kernfs.ErrNotTaken, got)
	}
	return nil
}
