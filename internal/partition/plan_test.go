// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/taskiso/taskiso/internal/partition/change"
)

var update = flag.Bool("update", false, "write the golden files anew")

func compareGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("differs from %s; run with -update and look at the difference. Got:\n%s", file, got)
	}
}

func planJSON(t *testing.T, m machine, files fs.FS) []byte {
	t.Helper()
	p, err := New(m.spec, files)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestPlanGolden(t *testing.T) {
	for _, m := range machines() {
		t.Run(m.name, func(t *testing.T) {
			files := m.tree(t).files(t)
			p, err := New(m.spec, files)
			if err != nil {
				t.Fatal(err)
			}
			boot, err := NewBoot(m.spec, files)
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if err := errors.Join(p.WriteText(&b), boot.WriteText(&b)); err != nil {
				t.Fatal(err)
			}
			compareGolden(t, m.name, b.Bytes())
		})
	}
}

// TestPlanPure: the same machine gives the same bytes, wherever its files are,
// and so does what was captured of it.
func TestPlanPure(t *testing.T) {
	for _, m := range machines() {
		t.Run(m.name, func(t *testing.T) {
			files := m.tree(t).files(t)
			first := planJSON(t, m, files)
			if second := planJSON(t, m, m.tree(t).files(t)); !bytes.Equal(first, second) {
				t.Errorf("two plans differ:\n%s\n%s", first, second)
			}
			var archive bytes.Buffer
			if unread, err := Capture(&archive, files); err != nil || len(unread) > 0 {
				t.Fatalf("capturing left out %v, error %v", unread, err)
			}
			if captured := planJSON(t, m, unpack(t, &archive)); !bytes.Equal(first, captured) {
				t.Errorf("the plan for the captured machine differs:\n%s\n%s", first, captured)
			}
		})
	}
}

func unpack(t *testing.T, archive io.Reader) fs.FS {
	t.Helper()
	zip, err := gzip.NewReader(archive)
	if err != nil {
		t.Fatal(err)
	}
	m := tree{}
	for r := tar.NewReader(zip); ; {
		header, err := r.Next()
		if err == io.EOF {
			return m.files(t)
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		m[header.Name] = treeFile{string(text), header.FileInfo().Mode()}
	}
}

// TestPlanLeavesNothing checks what a plan is for on every machine: when its
// changes are made, no mask of CPUs holds an isolated one, and a plan made then
// finds nothing left to do.
func TestPlanLeavesNothing(t *testing.T) {
	for _, m := range machines() {
		t.Run(m.name, func(t *testing.T) {
			files := m.tree(t)
			p, err := New(m.spec, files.files(t))
			if err != nil {
				t.Fatal(err)
			}
			cgroup := cgroupOfChanges(p.All()) // which no file stands for
			isCgroup := func(c change.Change) bool { return cgroup != "" && strings.HasPrefix(c.Path, cgroup) }
			for _, c := range p.All() {
				path := strings.TrimPrefix(c.Path, "/")
				if c.Directory() == "" && !isCgroup(c) {
					files[path] = treeFile{strings.TrimPrefix(c.To, "+") + "\n", files[path].mode}
				}
			}
			again := m.spec
			again.CacheWays = 0 // the first plan has given them to a group, which a second one does not take
			after, err := New(again, files.files(t))
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range after.All() {
				if !isCgroup(c) && !sharedGovernor(c) {
					t.Errorf("left to do: %+v", c)
				}
			}
		})
	}
}

// sharedGovernor reports whether a change is of a file that on real machines is a
// link to that of another CPU, which the made-up ones do not have.
func sharedGovernor(c change.Change) bool { return strings.HasSuffix(c.Path, "/scaling_governor") }

func small() fstest.MapFS {
	return fstest.MapFS{
		"sys/devices/system/cpu/online":   {Data: []byte("0-2\n")},
		"sys/devices/system/cpu/possible": {Data: []byte("0-3\n")},
		"sys/kernel/mm/ksm/run":           {Data: []byte("1\n"), Mode: 0o644},
	}
}

func TestPlanRefuses(t *testing.T) {
	for _, test := range []struct {
		spec Spec
		want string
	}{
		{Spec{}, "no CPU given"},
		{Spec{CPUs: "x"}, `parsing CPU list "x"`},
		{Spec{CPUs: "9"}, "this machine has only CPU 0-3"},
		{Spec{CPUs: "3"}, "CPU 3 is offline"},
		{Spec{CPUs: "0-2"}, "one must be left for the rest"},
		{Spec{CPUs: "1", Housekeeping: "0-1"}, "CPU 1 cannot both be isolated and do housekeeping"},
		{Spec{CPUs: "1", Housekeeping: "3"}, "housekeeping: CPU 3 is offline"},
		{Spec{CPUs: "1", Name: "../x"}, `name "../x"`},
		{Spec{CPUs: "1", Profile: "fast"}, `profile "fast": want latency or throughput`},
		{Spec{CPUs: "1", Siblings: "kill"}, `siblings "kill": want keep or offline`},
		{Spec{CPUs: "1", Partition: "member"}, `partition "member"`},
		{Spec{CPUs: "1", Skip: []string{"kms"}}, `unknown setting "kms": want one of irqbalance,`},
		{Spec{CPUs: "1", Skip: []string{"ksm"}, Require: []string{"ksm"}}, "both required and skipped"},
	} {
		p, err := New(test.spec, small())
		if p != nil || err == nil || !strings.Contains(err.Error(), test.want) || !errors.Is(err, ErrSpec) {
			t.Errorf("%+v: got %v, %v, want ErrSpec with %q", test.spec, p, err, test.want)
		}
	}
}

func TestPlanRequired(t *testing.T) {
	p, err := New(Spec{CPUs: "1", Require: []string{"ksm"}}, small())
	if err != nil || len(p.All()) != 1 {
		t.Errorf("got %v, %v, want one change and no error", p, err)
	}
	p, err = New(Spec{CPUs: "1", Require: []string{"cpuset"}}, small())
	if p == nil || !errors.Is(err, ErrRequired) || !strings.Contains(err.Error(), "setting cpuset") {
		t.Errorf("got %v, %v, want a plan and ErrRequired", p, err)
	}
	p, err = New(Spec{CPUs: "1", Profile: Throughput, Require: []string{"ksm"}}, small())
	if err != nil || len(p.All()) != 1 {
		t.Errorf("got %v, %v, want the required setting in the profile throughput too", p, err)
	}
}

// A required setting of which it is not known whether it is possible is not called impossible, and the error has the next step.
func TestPlanRequiresWhatIsUnknown(t *testing.T) {
	files := small()
	files["proc/irq/default_smp_affinity"] = &fstest.MapFile{Data: []byte("what?\n")}
	for _, test := range []struct {
		require []string
		want    string
	}{
		{[]string{"irq-default"}, `setting irq-default: required, but whether it is possible here is not known: reading /proc/irq/default_smp_affinity: parsing CPU list "what?": not a hexadecimal number of at most 8 digits; find that out, or do without requiring it`},
		{[]string{"irq-default", "cpuset"}, "setting cpuset: required, but not possible here: no /sys/fs/cgroup/cgroup.controllers; setting irq-default: required, but whether it is possible here is not known: "},
	} {
		_, err := New(Spec{CPUs: "1", Require: test.require}, files)
		if !errors.Is(err, ErrRequired) || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
}

func TestPlanWarns(t *testing.T) {
	files := small()
	files["sys/devices/system/cpu/cpu0/topology/core_cpus_list"] = &fstest.MapFile{Data: []byte("0,2\n")}
	files["sys/devices/system/cpu/isolated"] = &fstest.MapFile{Data: []byte("0\n")}
	p, err := New(Spec{CPUs: "0"}, files)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(p.Warnings, "\n")
	for _, want := range []string{"CPU 0 does work", "CPU 2 shares a core with isolated CPUs and slows them down", "CPU 0: the tick continues", "isolated at boot already, by isolcpus=: CPU 0"} {
		if !strings.Contains(got, want) {
			t.Errorf("no warning %q in:\n%s", want, got)
		}
	}
}

// TestPlanUnreadable: what cannot be understood is "unknown", not "set".
func TestPlanUnreadable(t *testing.T) {
	files := small()
	files["proc/irq/default_smp_affinity"] = &fstest.MapFile{Data: []byte("what?\n")}
	p, err := New(Spec{CPUs: "1"}, files)
	if err != nil {
		t.Fatal(err)
	}
	if s := p.setting("irq-default"); s.State != Unknown || !strings.Contains(s.Reason, "/proc/irq/default_smp_affinity") {
		t.Errorf("got %+v, want it unknown with the file", s)
	}
}

// counting counts what is opened.
type counting struct {
	fs.FS
	opened atomic.Int64
}

func (c *counting) Open(name string) (fs.File, error) {
	c.opened.Add(1)
	return c.FS.Open(name)
}

// BenchmarkPlan is of the largest machine that the plan is to be quick for: with
// its files in directories, and in memory, where no system call is made.
func BenchmarkPlan(b *testing.B) {
	m := server(512, 2000)
	for name, files := range map[string]fs.FS{"directories": view(b, m.write(b)), "memory": m.files(b)} {
		b.Run(name, func(b *testing.B) {
			count := counting{FS: files}
			if _, err := New(Spec{CPUs: "16-255"}, &count); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := New(Spec{CPUs: "16-255"}, files); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(count.opened.Load()), "files/op")
		})
	}
}

// TestSiblings: the other threads of isolated cores go offline on request, and do
// no housekeeping then.
func TestSiblings(t *testing.T) {
	m := server(256, 8)
	for _, cpu := range []string{"130", "131"} {
		m.add("sys/devices/system/cpu/cpu"+cpu+"/online", "1")
	}
	kept, err := New(Spec{CPUs: "2-3"}, m.files(t))
	if err != nil {
		t.Fatal(err)
	}
	off, err := New(Spec{CPUs: "2-3", Siblings: Offline}, m.files(t))
	if err != nil {
		t.Fatal(err)
	}
	var offline []string
	for _, c := range off.All() {
		if strings.HasSuffix(c.Path, "/online") {
			offline = append(offline, c.Path+"="+c.To)
		}
	}
	if got, want := strings.Join(offline, " "), "/sys/devices/system/cpu/cpu130/online=0 /sys/devices/system/cpu/cpu131/online=0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := off.Housekeeping.String(); got != "0-1,4-129,132-255" {
		t.Errorf("housekeeping on CPU %s", got)
	}
	shares := "them down"
	if strings.Contains(strings.Join(off.Warnings, ""), shares) || !strings.Contains(strings.Join(kept.Warnings, ""), shares) {
		t.Errorf("warnings: kept %v, offline %v", kept.Warnings, off.Warnings)
	}
}
