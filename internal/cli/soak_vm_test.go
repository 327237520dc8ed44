// SPDX-License-Identifier: Apache-2.0

//go:build soak

package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taskiso/taskiso/bench/peers"
	"github.com/taskiso/taskiso/bench/results"
	"github.com/taskiso/taskiso/internal/cause"
	"github.com/taskiso/taskiso/internal/vmtest"
	"github.com/taskiso/taskiso/internal/vmtest/debian"
)

var update = flag.Bool("update", false, "write what was found, for docs/causes.md and docs/benchmarks.md")

const provokedFile = "../cause/provoked.json"

// TestVMProvocations takes minutes on each kernel.
func TestVMProvocations(t *testing.T) {
	all := make([]cause.Provocation, len(provocations))
	for i, p := range provocations {
		all[i] = cause.Provocation{Name: p.name, Kernels: make(map[string]cause.Outcome)}
	}
	vmtest.Run(t, vmtest.Config{
		// Without khugepaged, and without doubts about the clock of an emulated CPU:
		// they would break it on their own, and keep its tick.
		Cmdline:  vmtest.Isolated + " transparent_hugepage=never tsc=reliable numa_balancing=disable",
		Nodes:    2,
		Programs: map[string]vmtest.Program{guestProgram: taskiso},
		Modules:  []string{"dummy", "brd"},
		Tests:    "^TestGuestProvocations$",
		Timeout:  15 * time.Minute,
		Output:   func(release, text string) { collectProvoked(all, release, text) },
	})
	if *update {
		t.Cleanup(func() { writeProvoked(t, all) })
	}
}

func writeProvoked(t *testing.T, all []cause.Provocation) {
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

// TestVMComparison takes a quarter of an hour: it compares real runs.
func TestVMComparison(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		Kernels:  []string{"trixie"},
		Cmdline:  vmtest.Isolated,
		Programs: map[string]vmtest.Program{guestProgram: taskiso},
		Tests:    "^TestGuestS(ameRuns|eededChange)$",
		Timeout:  50 * time.Minute,
	})
}

// observed is how long TestVMSilence observes with each observer.
var observed = flag.Duration("observed", time.Minute, "observe for `TIME` with each observer")

// TestVMSilence takes eight minutes on each kernel.
func TestVMSilence(t *testing.T) {
	files := map[string]string{guestProgram: buildProgram(t)}
	for _, peer := range []string{"bpftrace", "perf", "trace-cmd"} {
		if path, err := exec.LookPath(peer); err == nil {
			files["/bin/"+peer] = path
		}
	}
	f, err := results.Describe("make silence")
	if err != nil {
		t.Fatal(err)
	}
	f.Machine = "guests with 4 CPUs, emulated on one thread of " + f.Machine
	f.Missing = make(map[string]string)
	f.Peers = results.Versions("bpftrace", "linux-perf", "trace-cmd")
	var kernels []string
	var measured [][]silence
	vmtest.Run(t, vmtest.Config{
		// What interrupts an isolated CPU anyway is switched off as far as the
		// kernel lets us; see docs/causes.md.
		Cmdline: vmtest.Isolated + " tsc=reliable transparent_hugepage=never nmi_watchdog=0",
		Files:   files,
		Env:     []string{silenceVariable + "=" + observed.String()},
		Tests:   "^TestGuestSilence$",
		Memory:  2048, // for the peers and their libraries
		Timeout: 20 * time.Minute,
		Output: func(release, text string) {
			var of []silence
			if err := marked(text, silenceMark, &of); err != nil {
				t.Errorf("what was measured on %s: %v", release, err)
				return
			}
			kernels, measured = append(kernels, kernelOf(release)), append(measured, of)
		},
	})
	t.Cleanup(func() {
		f.Busy = results.Load()
		f.Tables = silenceTables(kernels, measured, f.Missing)
		for _, table := range f.Tables {
			t.Logf("%s\n\n%s", table.Name, table.Markdown())
		}
		if *update && !t.Failed() {
			if err := f.Write("../../docs/bench/silence.json"); err != nil {
				t.Error(err)
			}
		}
	})
}

// silenceTables has what interrupted the CPU under each observer, and what each has
// recorded, a column for each kernel.
func silenceTables(kernels []string, measured [][]silence, missing map[string]string) []results.Table {
	unit := fmt.Sprintf("in %.0f s", observed.Seconds())
	interrupts := results.Table{Name: "interrupts", Unit: unit, Columns: kernels}
	recorded := results.Table{Name: "recorded", Unit: unit, Columns: kernels}
	for i, first := range measured[0] {
		name := first.Observer
		var interrupted, calls []float64
		for j, of := range measured {
			r := of[i]
			if r.Err != "" {
				missing[name+" on "+kernels[j]] = r.Err
			}
			interrupted, calls = append(interrupted, float64(total(r.Interrupts))), append(calls, float64(r.Syscalls))
			if r.Err != "" {
				interrupted[j], calls[j] = math.NaN(), math.NaN()
			}
		}
		ours := name == peers.Taskiso("", 0).Name
		interrupts.Add(name, ours, interrupted...)
		if name != nothing {
			recorded.Add(name, ours, calls...)
		}
	}
	return []results.Table{interrupts, recorded}
}

// marked reads the JSON that follows a mark in a guest's output.
func marked(text, mark string, v any) error {
	_, line, found := strings.Cut(text, mark)
	if !found {
		return errors.New("there is nothing")
	}
	line, _, _ = strings.Cut(line, "\n")
	return json.Unmarshal([]byte(line), v)
}

// TestVMIsolationStorm is the storm of TestVMIsolation at its full length; part of make soak.
func TestVMIsolationStorm(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		Cmdline: vmtest.Isolated + " tsc=reliable",
		Programs: map[string]vmtest.Program{
			guestProgram:     taskiso,
			isolationProgram: inC("isolation"),
			isolationCost:    compiled("../../bench/enter/c/isolation.c"),
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
		Cmdline:  "nohz_full=2,3",
		Programs: map[string]vmtest.Program{guestProgram: taskiso},
		Tests:    "^TestGuestPart(HoldsOff|Quiet)",
		Timeout:  6 * time.Minute,
	})
}

// TestVMPartitionOfARunSystemd has partitions of runs where a cgroup is a slice of
// systemd; part of make partition-soak.
func TestVMPartitionOfARunSystemd(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		Cmdline:  "nohz_full=2,3",
		Systemd:  true,
		Programs: map[string]vmtest.Program{guestProgram: taskiso},
		Tests:    "^TestGuestPartitionOfARun$",
		Timeout:  3 * time.Minute,
	})
}

// noiseArgs are for "bench noise" in a guest.
var noiseArgs = flag.String("noise", "-rounds 3 -d 5s", "`FLAGS` of the comparison with peers of noise")

// TestVMPeersOfNoise measures beside its peers in a guest; part of make bench-noise.
// The kernel is one that has the tracers of rtla and hwlatdetect.
func TestVMPeersOfNoise(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		Cmdline: vmtest.Isolated + " tsc=reliable",
		Kernels: []string{debian.RealTime},
		Files:   peersOfNoise(t),
		Env:     []string{noiseVariable + "=" + *noiseArgs},
		Tests:   "^TestGuestPeersOfNoise$",
		Memory:  2048, // for Python
		Timeout: 30 * time.Minute,
		Output: func(_, text string) {
			var f results.File
			if err := marked(text, benchedMark, &f); err != nil {
				t.Errorf("the guest's figures: %v", err)
				return
			}
			f.Machine = "guest under emulation on one thread of " + f.Machine
			f.Peers = results.Versions("rt-tests", "rtla")
			if !*update {
				return
			}
			if err := f.Write("../../docs/bench/noise-vm.json"); err != nil {
				t.Error(err)
			}
		},
	})
}

// peersOfNoise returns the programs that are compared, with the Python that one of them
// is written in.
func peersOfNoise(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{guestProgram: buildProgram(t), benchProgram: vmtest.Build(t, vmtest.GoProgram("bench")), "/bin/true": "/bin/true"}
	for _, name := range []string{"oslat", "cyclictest", "rtla", "hwlatdetect"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		files["/usr/bin/"+name] = path
	}
	text, err := os.ReadFile(files["/usr/bin/hwlatdetect"])
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	interpreter := strings.TrimPrefix(first, "#!")
	python, err := filepath.EvalSymlinks(interpreter)
	if err != nil {
		t.Fatal(err)
	}
	library := "/usr/lib/" + filepath.Base(python) // it has the version in its name
	files[interpreter], files[library] = python, library
	return files
}

// TestVMHostile has a task do its worst for ten minutes, or for as many seconds as
// the variable says.
func TestVMHostile(t *testing.T) {
	runHold(t, vmtest.Config{
		Env:     []string{hostileVariable + "=" + cmp.Or(os.Getenv(hostileVariable), "600")},
		Tests:   "^TestGuestYieldHostile$",
		Timeout: 20 * time.Minute,
	})
}

// TestVMHoldAll has every guarded operation held, on each kernel; part of make hold-soak.
func TestVMHoldAll(t *testing.T) {
	runHold(t, vmtest.Config{
		Env:     []string{allGuardedVariable + "=1"},
		Tests:   "^TestGuestYieldOperations$",
		Timeout: 20 * time.Minute,
	})
}
