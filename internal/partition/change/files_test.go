// SPDX-License-Identifier: Apache-2.0

package change

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"testing"

	"github.com/taskiso/taskiso/cpulist"
)

// memory imitates the files of a machine, and notes what is done.
type memory struct {
	files map[string]string
	shown map[string]string // what is shown after any write, instead of what was written
	// asked answers a request to a program.
	asked func(request string) (string, error)
	done  []string
}

func files(list ...string) *memory {
	m := &memory{files: map[string]string{}}
	for i := 0; i < len(list); i += 2 {
		m.files[list[i]] = list[i+1]
	}
	return m
}

func (m *memory) note(format string, args ...any) error {
	m.done = append(m.done, fmt.Sprintf(format, args...))
	return nil
}

func (m *memory) Read(path string) (string, error) {
	text, there := m.files[path]
	if !there {
		return "", fmt.Errorf("reading %s: %w", path, fs.ErrNotExist)
	}
	return text, nil
}

func (m *memory) Write(path, value string) error {
	m.files[path] = value
	if shown, is := m.shown[path]; is {
		m.files[path] = shown
	}
	return m.note("write %s %s", path, value)
}

func (m *memory) Mkdir(path string) error { return m.note("mkdir %s", path) }

func (m *memory) Rmdir(path string) error { return m.note("rmdir %s", path) }

func (m *memory) SetAffinity(thread string, cpus cpulist.Set) error {
	return m.note("affinity %s %v", thread, cpus)
}

func (m *memory) Ask(_, request string) (string, error) {
	_ = m.note("ask %s", request)
	return m.asked(request)
}

func (m *memory) StartSlice(name, cpus string) error { return m.note("start %s %s", name, cpus) }

func (m *memory) StopSlice(name string) error {
	clear(m.files)
	return m.note("stop %s", name)
}

// did fails the test unless exactly this was done.
func (m *memory) did(t *testing.T, want ...string) {
	t.Helper()
	if fmt.Sprint(m.done) != fmt.Sprint(want) {
		t.Errorf("done: %q, want %q", m.done, want)
	}
}

// check tests what holds for a change of every kind: where a value is, and that a journal keeps it.
func check(t *testing.T, c Change, places map[string]Place, description string) {
	t.Helper()
	for got, want := range places {
		if place := c.Place(got); place != want {
			t.Errorf("%q is at place %d, want %d", got, place, want)
		}
	}
	if c.String() != description {
		t.Errorf("described as %q, want %q", c, description)
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var again Change
	if err := json.Unmarshal(text, &again); err != nil || again != c {
		t.Errorf("%s reads as %+v, %v", text, again, err)
	}
}

// roundTrip makes a change, and undoes it.
func roundTrip(t *testing.T, m *memory, c Change) {
	t.Helper()
	if ready, err := c.Ready(m); err != nil || !ready {
		t.Fatalf("ready: %v, %v", ready, err)
	}
	if err := c.Apply(m); err != nil {
		t.Fatal(err)
	}
	if err := c.Restore(m); err != nil {
		t.Fatal(err)
	}
}
