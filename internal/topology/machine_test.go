// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/taskiso/taskiso/cpulist"
)

func set(t *testing.T, list string) cpulist.Set {
	t.Helper()
	cpus, err := cpulist.ParseSysfs(list)
	if err != nil {
		t.Fatal(err)
	}
	return cpus
}

func TestReadMachine(t *testing.T) {
	files := twoSockets()
	want := Machine{Possible: set(t, "0-31"), Online: set(t, "0-4,6-15"), Isolated: set(t, "2-3,10-11")}
	if m, err := ReadMachine(files); err != nil || m != want {
		t.Errorf("got %v, %v, want %v", m, err, want)
	}
	// A kernel that cannot isolate has no such files, and none of the others may be missing.
	delete(files, "sys/devices/system/cpu/isolated")
	delete(files, "sys/devices/system/cpu/nohz_full")
	want.Isolated = cpulist.Set{}
	if m, err := ReadMachine(files); err != nil || m != want {
		t.Errorf("without isolation: got %v, %v, want %v", m, err, want)
	}
	for _, name := range []string{"possible", "online"} {
		files := twoSockets()
		delete(files, "sys/devices/system/cpu/"+name)
		if _, err := ReadMachine(files); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	for _, name := range []string{"possible", "online", "isolated", "nohz_full"} {
		files := twoSockets()
		files["sys/devices/system/cpu/"+name] = &fstest.MapFile{Data: []byte("x\n")}
		if _, err := ReadMachine(files); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s that cannot be read: %v", name, err)
		}
	}
}

func TestParse(t *testing.T) {
	m := Machine{Possible: set(t, "0-3,6"), Online: set(t, "0-2,6")}
	for _, tc := range []struct{ text, want, problem string }{
		{"0", "0", ""},
		{"2,0-1,6", "0-2,6", ""},
		{"3", "", "CPU 3 is offline"},
		{"2-3", "", "CPU 3 is offline"},
		{"4-6", "", "CPU 4-5: this machine has only CPU 0-3,6"},
		{"7", "", "CPU 7: this machine has only CPU 0-3,6"},
		{"99999999999999999999", "", "CPU 99999999999999999999: this machine has only CPU 0-3,6"},
		{"", "", "no CPU"},
		{"x", "", `parsing CPU list "x"`},
		{"1-0", "", "1-0"},
	} {
		cpus, err := m.Parse(tc.text)
		if tc.problem == "" && (err != nil || cpus.String() != tc.want) {
			t.Errorf("%q: got %v, %v, want %s", tc.text, cpus, err, tc.want)
		}
		if tc.problem != "" && (err == nil || !strings.Contains(err.Error(), tc.problem) || !cpus.IsEmpty()) {
			t.Errorf("%q: got %v, %v, want %q", tc.text, cpus, err, tc.problem)
		}
	}
}

func TestChoice(t *testing.T) {
	for _, tc := range []struct {
		name                         string
		online, isolated, nohzFull   string
		apart, apartOrAll            string
		cpus, beside, forTheRestOfIt string
	}{
		{"plain", "0-3", "", "", "", "0-3", "3", "0-2", "0-2"},
		{"isolated", "0-3", "2", "3", "2-3", "2-3", "3", "0-2", "0-1"},
		{"isolated but one", "0-3", "1-3", "", "1-3", "1-3", "0", "1-3", "1-3"},
		{"offline", "0-2", "2-3", "3", "2", "2", "2", "0-1", "0-1"},
		{"all", "0-3", "", "", "", "0-3", "0-3", "", ""},
	} {
		m := Machine{Possible: set(t, "0-3"), Online: set(t, tc.online), Isolated: set(t, tc.isolated), NohzFull: set(t, tc.nohzFull)}
		if got := m.SetApart().String(); got != tc.apart {
			t.Errorf("%s: CPU %s are set apart, want %s", tc.name, got, tc.apart)
		}
		if got := m.SetApartOrAll().String(); got != tc.apartOrAll {
			t.Errorf("%s: CPU %s are set apart or all, want %s", tc.name, got, tc.apartOrAll)
		}
		beside, err := m.Beside(set(t, tc.cpus))
		if beside.String() != tc.beside || (err == nil) != (tc.beside != "") {
			t.Errorf("%s: CPU %v beside, %v, want %s", tc.name, beside, err, tc.beside)
		}
		if err != nil && !strings.Contains(err.Error(), "CPU 0-3 are all this machine has: one must be left") {
			t.Errorf("%s: %v", tc.name, err)
		}
		if got := m.Housekeeping(beside).String(); got != tc.forTheRestOfIt {
			t.Errorf("%s: CPU %s for housekeeping, want %s", tc.name, got, tc.forTheRestOfIt)
		}
	}
}
