// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"maps"
	"runtime"
	"strings"
	"testing"
)

// entryMachine is a kernel with some of the entry points of both architectures.
func entryMachine() map[string]string {
	files := maps.Clone(isolatedMachine)
	files["proc/interrupts"] = "           CPU0       CPU1\nPIN:          0          0   Posted-interrupt notification event"
	files["proc/kallsyms"] = strings.Join([]string{
		"0 T asm_exc_divide_error", "0 T asm_sysvec_kvm_posted_intr_ipi", "0 T asm_exc_double_fault", "0 T asm_exc_of_the_future",
		"0 t el0t_64_sync", "0 T __sdei_asm_handler", "0 t el0t_64_irq",
	}, "\n")
	return files
}

func TestEntries(t *testing.T) {
	p, out := fakeProgram(t, entryMachine())
	if status := p.execute("entries"); status != 0 {
		t.Fatalf("exit status %d: %s", status, out)
	}
	blind, unknown := "asm_exc_double_fault", "Not known to this taskiso: asm_exc_of_the_future"
	if runtime.GOARCH == "arm64" {
		blind, unknown = "__sdei_asm_handler", ""
	}
	// What else is blind depends on the tracepoints of the kernel that runs the test.
	_, below, _ := strings.Cut(out.String(), "Blind: nothing shows it: ")
	if !strings.Contains(below, blind) || !strings.HasSuffix(strings.TrimSpace(below), unknown) {
		t.Errorf("want %s as a blind entry, and %q, in:\n%s", blind, unknown, out)
	}
}

func TestEntriesJSON(t *testing.T) {
	p, out := fakeProgram(t, entryMachine())
	if status := p.execute("entries", "--json"); status != 0 {
		t.Fatalf("exit status %d: %s", status, out)
	}
	var got struct {
		Schema  int
		Arch    string
		Entries []struct{ Symbol, Seen string }
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Schema != 1 || got.Arch != runtime.GOARCH || len(got.Entries) < 2 || got.Entries[0].Symbol == "" || got.Entries[0].Seen == "" {
		t.Errorf("got %+v", got)
	}
}

func TestEntriesWithoutSymbols(t *testing.T) {
	p, out := fakeProgram(t, isolatedMachine)
	if status := p.execute("entries"); status != exitFailed || !strings.Contains(out.String(), "kallsyms") {
		t.Errorf("got exit status %d and %q", status, out)
	}
}
