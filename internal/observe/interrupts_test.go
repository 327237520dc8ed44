// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"fmt"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/topology"
)

// table reads lines of /proc/interrupts of a machine with CPUs 0 and 2.
func table(t *testing.T, lines string) topology.Table {
	t.Helper()
	files := fstest.MapFS{"proc/interrupts": {Data: []byte("           CPU0       CPU2\n" + lines)}}
	table, err := topology.Interrupts(files)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// shown writes a row as "name kernel=seen", or with the reason for no comparison.
func shown(r report.InterruptRow) string {
	switch {
	case r.Seen != nil && r.MayDiffer > 0:
		return fmt.Sprintf("%s %d=%d±%d", r.Name, r.Kernel, *r.Seen, r.MayDiffer)
	case r.Seen != nil:
		return fmt.Sprintf("%s %d=%d", r.Name, r.Kernel, *r.Seen)
	}
	return fmt.Sprintf("%s %d: %s", r.Name, r.Kernel, r.Reason)
}

func TestCompare(t *testing.T) {
	const shared = "interrupt 17 is shared: each of its handlers is an event"
	for _, tc := range []struct {
		name    string
		lines   string
		seen    map[event.Kind]uint64
		came    map[event.Kind]uint64 // while the kernel's count was read
		missing []event.Kind
		want    []string
	}{
		{name: "nothing"},
		{name: "nothing on this CPU", lines: "LOC: 5 0 Local timer interrupts\n 24: 5 0 IO-APIC 24-edge eth0"},
		{
			name: "equal", lines: "LOC: 5 7 Local timer interrupts",
			seen: map[event.Kind]uint64{event.LocalTimerEnter: 7}, want: []string{"LOC 7=7"},
		},
		{
			name: "different", lines: "LOC: 5 7 Local timer interrupts",
			seen: map[event.Kind]uint64{event.LocalTimerEnter: 5}, want: []string{"LOC 7=5"},
		},
		{
			name: "some came while it was read", lines: "CAL: 0 9 Function call interrupts",
			seen: map[event.Kind]uint64{event.CallFunctionEnter: 6, event.CallFunctionSingleEnter: 6},
			came: map[event.Kind]uint64{event.CallFunctionEnter: 1, event.CallFunctionSingleEnter: 2}, want: []string{"CAL 9=12±3"},
		},
		{
			name: "seen only", lines: "RES: 0 0 Rescheduling interrupts",
			seen: map[event.Kind]uint64{event.RescheduleEnter: 1}, want: []string{"RES 0=1"},
		},
		{
			name: "a class of two vectors", lines: "CAL: 0 9 Function call interrupts",
			seen: map[event.Kind]uint64{event.CallFunctionEnter: 4, event.CallFunctionSingleEnter: 5}, want: []string{"CAL 9=9"},
		},
		{
			name: "one tracepoint of two missing", lines: "CAL: 0 9 Function call interrupts",
			seen: map[event.Kind]uint64{event.CallFunctionEnter: 4}, missing: []event.Kind{event.CallFunctionSingleEnter},
			want: []string{"CAL 9: this kernel has no tracepoint call_function_single_entry"},
		},
		{
			name: "a class that cannot be compared", lines: "TLB: 0 3 TLB shootdowns\nMCP: 0 1 Machine check polls",
			want: []string{"TLB 3: counted among the function calls", "MCP 1: not interrupts of their own: run by a timer"},
		},
		{
			name: "a row nobody knows", lines: "XYZ: 0 2 Something new",
			want: []string{"XYZ 2: not known to taskiso"},
		},
		{
			name:  "devices together",
			lines: " 24: 1 3 IO-APIC 24-edge eth0\n 25: 1 4 IO-APIC 25-edge nvme0q1\n 26: 1 0 IO-APIC 26-edge idle",
			seen:  map[event.Kind]uint64{event.IRQEnter: 7}, want: []string{"devices 7=7"},
		},
		{
			name: "a shared interrupt", lines: " 17: 1 3 IO-APIC 17-fasteoi ahci, ehci_hcd\n 25: 1 4 IO-APIC 25-edge nvme0q1",
			seen: map[event.Kind]uint64{event.IRQEnter: 10}, want: []string{"devices 7: " + shared},
		},
		{
			name: "a shared interrupt that did not come", lines: " 17: 1 0 IO-APIC 17-fasteoi ahci, ehci_hcd\n 25: 1 4 IO-APIC 25-edge nvme0q1",
			seen: map[event.Kind]uint64{event.IRQEnter: 4}, want: []string{"devices 4=4"},
		},
		{
			name: "arm64: each IPI by its text, the rare ones together",
			lines: " 10: 0 0 GICv3 30 Level arch_timer\n 11: 1 4 GICv3 27 Level arch_timer\n 12: 0 2 GICv3 33 Level uart-pl011\nIPI0: 1 3 Rescheduling interrupts\n" +
				"IPI1: 1 5 Function call interrupts\nIPI2: 0 1 CPU stop interrupts\nIPI5: 1 6 IRQ work interrupts\nIPI6: 0 7 CPU backtrace interrupts\nErr: 0",
			seen: map[event.Kind]uint64{event.LocalTimerEnter: 4, event.IRQEnter: 2, event.RescheduleEnter: 3, event.CallFunctionEnter: 5,
				event.IRQWorkEnter: 6, event.IPIEnter: 8},
			want: []string{"IPI0 3=3", "IPI1 5=5", "IPI5 6=6", "10 11 4=4", "IPI2 IPI6 8=8", "devices 2=2"},
		},
		{
			name:  "arm64: one that is in another row of the kernel is no device",
			lines: "IPI0: 1 3 Rescheduling interrupts\nIPI9: 1 1 Something new",
			seen:  map[event.Kind]uint64{event.RescheduleEnter: 3, event.IRQEnter: 1}, want: []string{"IPI0 3=3", "IPI9 1=0", "devices 0=1"},
		},
		{
			name: "counts of the whole system", lines: "ERR: 5\nMIS: 0", want: nil,
		},
	} {
		tallied := func(k event.Kind) tally { return tally{seen: tc.seen[k], mayDiffer: tc.came[k]} }
		has := func(k event.Kind) bool { return !slices.Contains(tc.missing, k) }
		got := []string{}
		for _, row := range compare(table(t, tc.lines), "", 2, tallied, has) {
			if row.Description == "" {
				t.Errorf("%s: row %s without description", tc.name, row.Name)
			}
			got = append(got, shown(row))
		}
		if !slices.Equal(got, append([]string{}, tc.want...)) {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}

// What cannot be compared has a reason, and what has none has events.
func TestClasses(t *testing.T) {
	seen := make(map[event.Kind]string)
	names := make(map[string]bool)
	for _, c := range classesOfX86 {
		if (c.reason == "") != (len(c.kinds) > 0) {
			t.Errorf("%s: events %v, reason %q", c.name, c.kinds, c.reason)
		}
		if names[c.name] {
			t.Errorf("%s is there twice", c.name)
		}
		names[c.name] = true
		for _, k := range c.kinds {
			if !k.IsVectorEnter() || seen[k] != "" {
				t.Errorf("%s: %v is not an entry of a vector, or also in %q", c.name, k, seen[k])
			}
			seen[k] = c.name
		}
	}
}

func TestNames(t *testing.T) {
	files := fstest.MapFS{
		"proc/interrupts": {Data: []byte("  CPU0\n 24: 1 PCI-MSI 524288-edge eth0-tx-0\n 25: 0\nLOC: 3 Local timer interrupts\n")},
		"proc/kallsyms":   {Data: []byte("ffffffff81000000 T _stext\nffffffff81000100 t tick_nohz_handler\nffffffff81000200 t next\n")},
	}
	n := newNames(files)
	if n.symbolsErr != nil {
		t.Errorf("reading symbols: %v", n.symbolsErr)
	}
	if got := n.Function(0xffffffff81000104); got != "tick_nohz_handler" {
		t.Errorf("function %q", got)
	}
	for irq, want := range map[int]string{24: "eth0-tx-0", 25: "", 26: ""} {
		if got := n.Device(irq); got != want {
			t.Errorf("Device(%d): got %q, want %q", irq, got, want)
		}
	}
	if n.Syscall(-1) == "" {
		t.Error("a system call without any name")
	}
}

// Without the files, numbers are what is left.
func TestNamesWithoutFiles(t *testing.T) {
	n := newNames(fstest.MapFS{})
	if n.symbolsErr == nil {
		t.Error("no error for missing symbols")
	}
	if got := n.Function(0xabc); got != "0xabc" {
		t.Errorf("function %q, want the address", got)
	}
	if got := n.Device(24); got != "" {
		t.Errorf("device %q, want none", got)
	}
}

// The count of an interrupt that is gone at the end is gone as well.
func TestReusedInterrupt(t *testing.T) {
	const before = "LOC: 5 7 Local timer interrupts\n 24: 5 12 PCI-MSI 0-edge eth0"
	for after, want := range map[string]string{
		before:                            "devices 0=12",
		"LOC: 5 7 Local timer interrupts": "devices 0: interrupt 24 (PCI-MSI 0-edge eth0) was freed meanwhile, and its count with it",
		" 24: 5 24 PCI-MSI 0-edge":        "devices 24: interrupt 24 changed from PCI-MSI 0-edge eth0 to PCI-MSI 0-edge meanwhile",
		" 24: 5 12 PCI-MSI 0-edge eth0\n 25: 0 12 PCI-MSI 1-edge eth1": "devices 12=12", // new, so from zero
	} {
		tallied := func(k event.Kind) tally {
			if k == event.IRQEnter {
				return tally{seen: 12}
			}
			return tally{}
		}
		was, is := table(t, before), table(t, after)
		rows := compare(topology.Diff(was, is), reusedInterrupt(was, is), 2, tallied, func(event.Kind) bool { return true })
		i := slices.IndexFunc(rows, func(r report.InterruptRow) bool { return r.Name == "devices" })
		if i < 0 {
			t.Errorf("%q: no row for devices", after)
			continue
		}
		got := shown(rows[i])
		if got != want {
			t.Errorf("after %q: got %q, want %q", after, got, want)
		}
	}
}
