// SPDX-License-Identifier: Apache-2.0

//go:build soak

package cli

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/cause"
	"github.com/taskiso/taskiso/internal/peers/results"
	"github.com/taskiso/taskiso/internal/vmtest"
)

var update = flag.Bool("update", false, "write what was provoked, for docs/causes.md")

const provokedFile = "../cause/provoked.json"

// TestVMProvocations takes minutes on each kernel.
func TestVMProvocations(t *testing.T) {
	all := make([]cause.Provocation, len(provocations))
	for i, p := range provocations {
		all[i] = cause.Provocation{Name: p.name, Kernels: make(map[string]cause.Outcome)}
	}
	files := vmtest.Modules(t, "dummy", "brd")
	files[guestProgram] = buildProgram(t)
	vmtest.Run(t, vmtest.Config{
		// Without khugepaged, and without doubts about the clock of an emulated CPU:
		// they would break it on their own, and keep its tick.
		Cmdline: vmtest.Isolated + " transparent_hugepage=never tsc=reliable numa_balancing=disable",
		Nodes:   2,
		Files:   files,
		Tests:   "^TestGuestProvocations$",
		Timeout: 15 * time.Minute,
		Output:  func(release, text string) { collectProvoked(all, release, text) },
	})
	if !*update {
		return
	}
	keepOtherKernels(t, all)
	text, err := json.MarshalIndent(all, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(provokedFile, append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// keepOtherKernels adds what earlier runs found on kernels that this one left out.
func keepOtherKernels(t *testing.T, all []cause.Provocation) {
	t.Helper()
	before, err := cause.Provoked()
	if err != nil {
		t.Fatal(err)
	}
	ran := make(map[string]bool)
	for _, p := range all {
		for kernel := range p.Kernels {
			ran[kernel] = true
		}
	}
	for _, p := range all {
		for _, old := range before {
			for kernel, outcome := range old.Kernels {
				if old.Name == p.Name && !ran[kernel] {
					p.Kernels[kernel] = outcome
				}
			}
		}
	}
}

// collectProvoked reads what the guest's test found of each provocation.
func collectProvoked(all []cause.Provocation, release, text string) {
	kernel := kernelOf(release)
	for line := range strings.Lines(text) {
		_, found, ok := strings.Cut(strings.TrimSpace(line), provokedMark)
		fields := strings.Split(found, "\t")
		if !ok || len(fields) < 3 {
			continue
		}
		for _, p := range all {
			if p.Name != fields[0] {
				continue
			}
			p.Kernels[kernel] = cause.Outcome{Cause: fields[1]}
			if fields[1] == "" {
				p.Kernels[kernel] = cause.Outcome{Reason: fields[2]}
			}
		}
	}
}

// TestVMSilence takes eight minutes on each kernel.
func TestVMSilence(t *testing.T) {
	files := map[string]string{guestProgram: buildProgram(t)}
	for _, peer := range []string{"bpftrace", "perf", "trace-cmd"} {
		if path, err := exec.LookPath(peer); err == nil {
			files["/bin/"+peer] = path
		}
	}
	vmtest.Run(t, vmtest.Config{
		// What interrupts an isolated CPU anyway is switched off as far as the
		// kernel lets us; see docs/causes.md.
		Cmdline: vmtest.Isolated + " tsc=reliable transparent_hugepage=never nmi_watchdog=0",
		Files:   files,
		Tests:   "^TestGuestSilence$",
		Memory:  2048, // for the peers and their libraries
		Timeout: 20 * time.Minute,
	})
}

// TestVMIsolationStorm is the storm of TestVMIsolation at its full length; part of make soak.
func TestVMIsolationStorm(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		Cmdline: vmtest.Isolated + " tsc=reliable",
		Files: map[string]string{
			guestProgram:     buildProgram(t),
			isolationProgram: buildC(t, "isolation"),
			isolationCost:    compileC(t, "../peers/isolation/c/isolation.c"),
		},
		Env:     []string{stormVariable + "=100000"},
		Tests:   "^TestGuest(PriceOfIsolation|IsolationStorm)$",
		Timeout: 20 * time.Minute,
	})
}

// TestVMPartitionEffect provokes what a partition is to keep away; part of make
// partition-soak.
func TestVMPartitionEffect(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		Cmdline: "nohz_full=2,3",
		Files:   map[string]string{guestProgram: buildProgram(t)},
		Tests:   "^TestGuestPart(HoldsOff|Quiet)",
		Timeout: 6 * time.Minute,
	})
}

// TestVMPeersOfNoise measures beside oslat and cyclictest in a guest; part of make
// bench-noise.
func TestVMPeersOfNoise(t *testing.T) {
	files := map[string]string{guestProgram: buildProgram(t), benchNoise: buildGo(t, "internal/peers/noise"), "/bin/true": "/bin/true"}
	for _, peer := range []string{"oslat", "cyclictest"} {
		path, err := exec.LookPath(peer)
		if err != nil {
			t.Fatal(err)
		}
		files["/bin/"+peer] = path
	}
	vmtest.Run(t, vmtest.Config{
		Cmdline: vmtest.Isolated + " tsc=reliable",
		Kernels: []string{"trixie"},
		Files:   files,
		Tests:   "^TestGuestPeersOfNoise$",
		Timeout: 20 * time.Minute,
		Output: func(_, text string) {
			_, line, found := strings.Cut(text, benchedMark)
			line, _, _ = strings.Cut(line, "\n")
			var f results.File
			if err := json.Unmarshal([]byte(line), &f); !found || err != nil {
				t.Errorf("the guest's figures: %v", err)
				return
			}
			if *update {
				f.Machine = "guest under emulation on one thread of " + f.Machine
				if err := f.Write("../../docs/bench/noise-vm.json"); err != nil {
					t.Error(err)
				}
			}
		},
	})
}
