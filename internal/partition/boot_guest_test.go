// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/taskiso/taskiso/internal/topology"
)

// TestGuestBootLines: this kernel does with its command line what isolate says that
// its release does, and boot and doctor say of it what sysfs shows. TestVMBootLines
// boots with the lines for which kernels differ.
func TestGuestBootLines(t *testing.T) {
	files := os.DirFS("/")
	spec := Spec{CPUs: "2-3"}
	b, err := NewBoot(spec, files)
	if err != nil {
		t.Fatal(err)
	}
	g, err := NewGrade(spec, files)
	if err != nil {
		t.Fatal(err)
	}
	line, err := fs.ReadFile(files, "proc/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	nohzFull, tickErr := topology.NohzFull(files)
	isolated, isolatedErr := topology.Isolated(files)
	if tickErr != nil || isolatedErr != nil {
		t.Fatal(tickErr, isolatedErr)
	}
	t.Logf("%sisolated %v, nohz_full %v; to add: %s", line, isolated, nohzFull, b.Line())

	h := &host{files: files}
	r, known := (&kernelLine{host: h}).releaseNumber()
	k := kernelLine{host: h, line: arguments(string(line)), hasTick: true}
	h.Isolated, h.NohzFull = isolated, nohzFull
	if h.Possible, err = topology.Possible(files); err != nil {
		t.Fatal(err)
	}
	if is := r.isolate(k.line, h.Possible, true); !known || !k.shows(is) {
		t.Errorf("Linux %v (%v) should have isolated %v", r, known, is)
	}

	if stopped := b.CPUs.IsSubsetOf(nohzFull); (b.Words[0].State == Set) != stopped {
		t.Errorf("nohz_full= is %s, and the tick is stopped: %v", b.Words[0].State, stopped)
	}
	wants := askedFor(domainKind, k.line, k.Possible)
	if b.Words[1].State == Set && !b.CPUs.Intersect(wants).IsSubsetOf(isolated) {
		t.Errorf("isolcpus= is called set: %+v", b.Words[1])
	}
	if dropped := slices.ContainsFunc(g.Hazards, func(h Hazard) bool { return strings.Contains(h.Remedy, "isolcpus-dropped") }); dropped == wants.IsSubsetOf(isolated) {
		t.Errorf("isolcpus= is dropped: %v, and isolated are %v of %v: %+v", dropped, isolated, wants, g.Hazards)
	}
	if _, err := os.Stat(patienceFile); (err == nil) == (b.Words[3].State == Lacking) {
		t.Errorf("%s: %v; and it is %+v", patienceFile, err, b.Words[3])
	}
	if len(g.Hazards) > 0 && g.Hazards[0].Name == "nohz_full" && g.Hazards[0].When == Reboot && b.CPUs.IsSubsetOf(nohzFull) {
		t.Errorf("the tick is stopped, and listed: %+v", g.Hazards[0])
	}
}
