// SPDX-License-Identifier: Apache-2.0

//go:build soak

package cli

import (
	"encoding/json"
	"flag"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskiso/taskiso/bench/results"
	"github.com/taskiso/taskiso/internal/vmtest"
)

var tunedFiles = flag.String("tuned", "", "`DIRECTORY` with Debian's tuned and all it needs, as vmsetup -unpack makes it")

// partitionFile is where docs/benchmarks.md has partitions from.
const partitionFile = "../../docs/bench/partition.json"

// TestVMPeersOfPartition measures beside tuned in guests; part of make bench-partition.
func TestVMPeersOfPartition(t *testing.T) {
	if *tunedFiles == "" {
		t.Fatal("no directory with tuned: say -args -tuned DIRECTORY, or use make bench-partition")
	}
	f, err := results.Describe("make bench-partition")
	if err != nil {
		t.Fatal(err)
	}
	for _, boot := range []struct{ name, words string }{
		// Those that the profile adds, with no_balance_cores=2-3.
		{"booted with tuned's parameters", "nohz=on isolcpus=2-3 nohz_full=2-3 rcu_nocbs=2-3 tuned.non_isolcpus=00000003 nosoftlockup skew_tick=1 tsc=reliable rcupdate.rcu_normal_after_boot=1"},
		{"booted without parameters", ""},
	} {
		t.Run(boot.name, func(t *testing.T) {
			vmtest.Run(t, vmtest.Config{
				Cmdline: boot.words,
				Files: map[string]string{
					guestProgram: buildProgram(t), spinProgram: buildSpin(t),
					"/usr": filepath.Join(*tunedFiles, "usr"), "/etc": filepath.Join(*tunedFiles, "etc"),
				},
				Memory:  2048,
				Tests:   "^TestGuestPeersOfPartition$",
				Timeout: 20 * time.Minute,
				Output:  func(release, text string) { collectPeers(t, f, kernelOf(release)+", "+boot.name, text) },
			})
		})
	}
	if !*update || t.Failed() {
		return
	}
	f.Machine = "guests with 4 CPUs under emulation on one thread of " + f.Machine
	f.Busy = results.Load()
	keepOtherTables(t, f)
	if err := f.Write(partitionFile); err != nil {
		t.Fatal(err)
	}
}

// collectPeers adds a guest's tables, with where they come from in their names.
func collectPeers(t *testing.T, f *results.File, where, text string) {
	_, line, found := strings.Cut(text, benchedMark)
	line, _, _ = strings.Cut(line, "\n")
	var guest results.File
	if err := json.Unmarshal([]byte(line), &guest); !found || err != nil {
		t.Errorf("%s: the guest's figures: %v", where, err)
		return
	}
	for _, table := range guest.Tables {
		table.Name = where + ": " + table.Name
		f.Tables = append(f.Tables, table)
	}
	f.Peers = guest.Peers
}

// keepOtherTables keeps what earlier runs measured and this one left out.
func keepOtherTables(t *testing.T, f *results.File) {
	t.Helper()
	old, err := results.Read(partitionFile)
	if err != nil {
		t.Log("no earlier results:", err)
		return
	}
	for _, table := range old.Tables {
		if _, err := f.Table(table.Name); err != nil {
			f.Tables = append(f.Tables, table)
		}
	}
	slices.SortFunc(f.Tables, func(a, b results.Table) int { return strings.Compare(a.Name, b.Name) })
}

// buildSpin links it statically: the guest's libraries are another release's.
func buildSpin(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "spin")
	gcc := exec.Command("gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O2", "-static", "-o", path, "testdata/spin.c")
	if out, err := gcc.CombinedOutput(); err != nil {
		t.Fatalf("compiling spin.c: %v\n%s", err, out)
	}
	return path
}
