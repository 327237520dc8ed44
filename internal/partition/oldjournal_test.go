// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// journaled are partitions whose journals have changes of every form between them.
func journaled() map[string]func(*testing.T) (*kernel, Spec) {
	onGuest := func(spec Spec) func(*testing.T) (*kernel, Spec) {
		return func(t *testing.T) (*kernel, Spec) {
			k, _ := guest(t)
			k.thread(50, "0-2")
			k.balancer(7, "1", "1")
			for _, cpu := range []string{"cpu2", "cpu3"} {
				k.add("sys/devices/system/cpu/"+cpu+"/online", "1")
			}
			return k, spec
		}
	}
	return map[string]func(*testing.T) (*kernel, Spec){
		"cpuset":   onGuest(Spec{Name: "dpdk", CPUs: "2-3", Cycle: true}),
		"affinity": onGuest(Spec{Name: "dpdk", CPUs: "2-3", Partition: None}),
		"slice": func(t *testing.T) (*kernel, Spec) {
			return underSystemdKernel(t), dpdk
		},
		"cache": func(t *testing.T) (*kernel, Spec) {
			return cacheServer(t), Spec{Name: "dpdk", CPUs: "2-3", CacheWays: 4}
		},
	}
}

// TestOldJournal: the journals in testdata were written by an earlier version, and are never made anew. The same are
// still written, and a partition that has such a journal is verified and undone: an update of taskiso comes while
// partitions are there.
func TestOldJournal(t *testing.T) {
	for name, machine := range journaled() {
		t.Run(name, func(t *testing.T) {
			k, spec := machine(t)
			original, dir := k.snapshot(), t.TempDir()
			create(t, k, dir, spec)
			written, err := os.ReadFile(journalFiles(t, dir)[0])
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", "journals", name+journalSuffix)
			old, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if string(written) != string(old) {
				t.Errorf("the journal differs from %s:\n%s", golden, written)
			}
			if err := os.WriteFile(journalFiles(t, dir)[0], old, 0o644); err != nil {
				t.Fatal(err)
			}
			if drifts, err := verify(t, k, dir, "dpdk"); err != nil || len(drifts) > 0 {
				t.Errorf("verify: %v, %v", drifts, err)
			}
			if err := k.store(t, dir).Undo(t.Context(), "dpdk", false); err != nil {
				t.Fatal(err)
			}
			k.same(t, "after undo", original)
		})
	}
}

// TestOldJournalForms: no form of a change is missing in the journals of [TestOldJournal].
func TestOldJournalForms(t *testing.T) {
	var forms []string
	for name := range journaled() {
		text, err := os.ReadFile(filepath.Join("testdata", "journals", name+journalSuffix))
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range regexp.MustCompile(`"form":"(\w+)"`).FindAllStringSubmatch(string(text), -1) {
			forms = append(forms, found[1])
		}
	}
	slices.Sort(forms)
	want := []string{"affinity", "choice", "controller", "cpulist", "cpumask", "cycle", "directory", "irqbalance", "partition", "schemata", "slice", "text"}
	if got := slices.Compact(forms); !slices.Equal(got, want) {
		t.Errorf("the journals have changes of the forms %q, want %q", got, want)
	}
}
