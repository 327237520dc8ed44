// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
)

// without is a machine on which a path, and what is below it, cannot be looked at.
type without struct {
	fs.FS
	path string
	err  error
}

func (w without) hides(name string) bool {
	return name == w.path || strings.HasPrefix(name, w.path+"/")
}

func (w without) Open(name string) (fs.File, error) {
	if w.hides(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: w.err}
	}
	return w.FS.Open(name)
}

// changed returns the settings that a plan for the machine changes.
func changed(t *testing.T, files fs.FS) map[string]bool {
	t.Helper()
	p, err := New(Spec{CPUs: "3"}, files)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, s := range p.Settings {
		names[s.Name] = s.State == Changes
	}
	return names
}

// What cannot be seen is unknown, as a setting and as a hazard: neither "set" nor "not needed", and not absent either where
// the directory is missing that every kernel has, or where it may not be read.
func TestWhatCannotBeSeenIsUnknown(t *testing.T) {
	whole := loadTree(t, "guest-trixie-6.12").files(t)
	expected := changed(t, whole)
	for _, dir := range alwaysThere {
		for _, err := range []error{fs.ErrNotExist, fs.ErrPermission} {
			files := without{whole, strings.TrimPrefix(dir, "/"), err}
			p, planErr := New(Spec{CPUs: "3"}, files)
			g, gradeErr := NewGrade(Spec{CPUs: "3"}, files)
			if planErr != nil || gradeErr != nil {
				t.Fatalf("%s: %v: %v, %v", dir, err, planErr, gradeErr)
			}
			n := 0
			for _, k := range knobs() {
				if !slices.ContainsFunc(k.reads, func(pattern string) bool { return files.hides(pattern) }) {
					continue
				}
				n++
				if k.name == "timer-migration" {
					continue // other files show that it is needless
				}
				if s := p.setting(k.name); s.State != Unknown || !strings.Contains(s.Reason, dir) {
					t.Errorf("%s: %v: %s is %s: %s", dir, err, k.name, s.State, s.Reason)
				}
				hazard := func(h Hazard) bool { return h.Name == k.name && h.When == Maybe }
				if !slices.ContainsFunc(g.Hazards, hazard) && !slices.ContainsFunc(g.Slower, hazard) {
					t.Errorf("%s: %v: no hazard %s", dir, err, k.name)
				}
			}
			if n == 0 {
				t.Errorf("no setting is in %s", dir)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(loadTree(t, "guest-trixie-6.12"))) {
		for _, err := range []error{fs.ErrNotExist, fs.ErrPermission} {
			for _, hidden := range []string{strings.TrimSuffix(name, "/"), path.Dir(name)} {
				p, planErr := New(Spec{CPUs: "3"}, without{whole, hidden, err})
				if planErr != nil {
					continue // nothing can be planned
				}
				for _, s := range p.Settings {
					if expected[s.Name] && (s.State == Set || s.State == Needless) || err == fs.ErrPermission && expected[s.Name] && s.State == Lacking && s.goesOn == "" {
						t.Errorf("%s: %v: %s is %s: %s", hidden, err, s.Name, s.State, s.Reason)
					}
				}
			}
		}
	}
}

// An empty file proves nothing either.
func TestEmptyFilesAreUnknown(t *testing.T) {
	machine := loadTree(t, "guest-trixie-6.12")
	expected := changed(t, machine.files(t))
	for _, name := range slices.Sorted(maps.Keys(machine)) {
		was := machine[name]
		machine[name] = treeFile{"\n", was.mode}
		p, err := New(Spec{CPUs: "3"}, machine.files(t))
		if err != nil {
			continue // nothing can be planned
		}
		for _, s := range p.Settings {
			if expected[s.Name] && (s.State == Set || s.State == Needless) {
				t.Errorf("%s is empty: %s is %s: %s", name, s.Name, s.State, s.Reason)
			}
		}
		machine[name] = was
	}
}

// Interrupts of which no file can be read are unknown as well.
func TestInterruptsWithoutFiles(t *testing.T) {
	machine := loadTree(t, "guest-trixie-6.12")
	for name := range machine {
		if strings.HasSuffix(name, "/smp_affinity_list") {
			delete(machine, name)
			machine.add(path.Dir(name)+"/spurious", "count 0")
		}
	}
	p, err := New(Spec{CPUs: "3"}, machine.files(t))
	if err != nil {
		t.Fatal(err)
	}
	if s := p.setting("irq-affinity"); s.State != Unknown {
		t.Errorf("irq-affinity is %s: %s", s.State, s.Reason)
	}
}
