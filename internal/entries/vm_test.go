// SPDX-License-Identifier: Apache-2.0

package entries

import (
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/taskiso/taskiso/internal/vmtest"
	"github.com/taskiso/taskiso/internal/vmtest/debian"
)

func TestMain(m *testing.M) { vmtest.Main(m) }

func TestVM(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		Cmdline: vmtest.Isolated,
		Also:    []string{debian.RealTime, debian.ARM64},
		Output:  func(release, text string) { writeSenders(t, release, text) },
	})
}

// Every entry point of the running kernel is in the table.
func TestKernelHasNoUnknownEntries(t *testing.T) { checkRunningKernel(t, hasAll) }

func TestGuestKernelHasNoUnknownEntries(t *testing.T) {
	points := checkRunningKernel(t, inTracefs)
	for _, p := range points {
		want := ByCatchAll
		switch {
		case len(p.Events) > 0:
			want = ByEvent
		case !p.Tracked:
			continue
		}
		if p.Seen != want {
			t.Errorf("%s is seen by %s, want %s: CPUs 2 and 3 are nohz_full", p.Symbol, p.Seen, want)
		}
	}
	for _, symbol := range map[string][]string{
		"amd64": {"asm_exc_page_fault", "asm_exc_nmi", "asm_sysvec_apic_timer_interrupt", "asm_common_interrupt", "entry_SYSCALL_64"},
		"arm64": {"el0t_64_sync", "el0t_64_irq", "el0t_64_fiq", "el0t_64_error", "__sdei_asm_handler"},
	}[runtime.GOARCH] {
		if !slices.ContainsFunc(points, func(p Point) bool { return p.Symbol == symbol }) {
			t.Errorf("%s is not among the entry points", symbol)
		}
	}
}

func inTracefs(tracepoint string) bool {
	_, err := os.Stat("/sys/kernel/tracing/events/" + strings.ReplaceAll(tracepoint, ":", "/"))
	return err == nil
}

func checkRunningKernel(t *testing.T, event func(string) bool) []Point {
	t.Helper()
	table := load(t, runtime.GOARCH)
	k, err := Read(os.DirFS("/"), event)
	if err != nil {
		t.Fatal(err)
	}
	points, unknown := table.On(k)
	for _, symbol := range unknown {
		t.Errorf("entry point %s of this kernel is not in entries.toml", symbol)
	}
	for _, p := range points {
		t.Logf("%-10s %-36s %s", p.Seen, p.Symbol, p.By)
	}
	if len(points) < 10 {
		t.Errorf("only %d entry points found: the pattern no longer fits", len(points))
	}
	return points
}
