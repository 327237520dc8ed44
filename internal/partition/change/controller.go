// SPDX-License-Identifier: Apache-2.0

package change

import (
	"fmt"
	"slices"
	"strings"
)

// Controller is a cgroup controller in a file with a list of them, to which "+cpuset" and "-cpuset" are written.
type Controller struct{ Text }

// MarshalText returns the name in journals.
func (Controller) MarshalText() ([]byte, error) { return []byte("controller"), nil }

func (Controller) same(text, value string) bool {
	return slices.Contains(strings.Fields(text), strings.Trim(value, "+-")) == !strings.HasPrefix(value, "-")
}

func (k Controller) restore(files Files, c Change) error { return write(files, c, k.before(c)) }

func (k Controller) place(c Change, got string) Place { return c.between(got, k.before(c)) }

// before takes the controller away, and leaves those that others have added since.
func (Controller) before(c Change) string { return "-" + c.To[len("+"):] }

func (Controller) describe(c Change) string { return fmt.Sprintf("%s: %s", c.Path, c.To) }
