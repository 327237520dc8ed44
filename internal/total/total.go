// SPDX-License-Identifier: Apache-2.0

// Package total keeps totals by cause, of which there are never more than a bound.
package total

// Cause is what something was about. Things with equal causes are counted together.
type Cause struct {
	ID     string // of the row in the catalogue of causes
	Title  string
	Detail string // what distinguishes things of one cause: a function, a system call ...
}

// String returns the cause as one line.
func (c Cause) String() string {
	if c.Detail == "" {
		return c.Title
	}
	return c.Title + ": " + c.Detail
}

// MaxApart bounds how many causes are kept apart in one sum. Details can be the
// choice of a task, such as its own name: without a bound any task could make a
// report, and the memory for it, grow for as long as it likes.
const MaxApart = 512

// Others is the detail of causes that are not kept apart any more.
const Others = "others"

// ByCause are totals by cause.
type ByCause[T any] map[Cause]*T

// Of returns the total to which what is to be added: its own, or if there are too many
// already that of its ID with the detail [Others]. A total that is new comes from first.
func (all ByCause[T]) Of(what Cause, first func(Cause) *T) *T {
	if all[what] == nil && all.Full() && what.Detail != "" {
		what = Cause{ID: what.ID, Title: what.Title, Detail: Others}
	}
	t := all[what]
	if t == nil {
		t = first(what)
		all[what] = t
	}
	return t
}

// Full reports whether further causes are not kept apart.
func (all ByCause[T]) Full() bool { return len(all) >= MaxApart }
