// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"cmp"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/record"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/topology"
)

// class is a row of /proc/interrupts and the events that show the same interrupts.
type class struct {
	name        string
	rows        []string // if that is not the one of its name
	kinds       []event.Kind
	description string
	reason      string // why it cannot be compared; then kinds is empty
}

// classesOfX86 are the rows that arch_show_interrupts() of arch/x86/kernel/irq.c prints.
var classesOfX86 = []class{
	{name: "LOC", kinds: []event.Kind{event.LocalTimerEnter}, description: "local timer"},
	{name: "RES", kinds: []event.Kind{event.RescheduleEnter}, description: "rescheduling"},
	{name: "CAL", kinds: []event.Kind{event.CallFunctionEnter, event.CallFunctionSingleEnter}, description: "function calls"},
	{name: "IWI", kinds: []event.Kind{event.IRQWorkEnter}, description: "irq_work"},
	{name: "TRM", kinds: []event.Kind{event.ThermalEnter}, description: "thermal"},
	{name: "THR", kinds: []event.Kind{event.ThresholdEnter}, description: "machine-check threshold"},
	{name: "DFR", kinds: []event.Kind{event.DeferredErrorEnter}, description: "deferred machine-check error"},
	{name: "SPU", kinds: []event.Kind{event.SpuriousEnter}, description: "spurious"},
	{name: "PLT", kinds: []event.Kind{event.PlatformIPIEnter}, description: "platform"},

	// Since commit 82ba4faca1bf ("x86/irq: Do not substract irq_tlb_count from
	// irq_call_count") CAL contains the interrupts that flushed TLBs.
	{name: "TLB", description: "TLB shootdowns", reason: "counted among the function calls"},
	{name: "NMI", description: "non-maskable", reason: "one NMI can be handled by several handlers or by none, and an event shows a handler"},
	{name: "PMI", description: "performance monitoring", reason: "counted among the NMIs"},
	{name: "MCE", description: "machine-check exceptions", reason: "no tracepoint at their entry"},
	{name: "MCP", description: "machine-check polls", reason: "not interrupts of their own: run by a timer"},
	{name: "RTR", description: "APIC read retries", reason: "not interrupts"},
	{name: "HYP", description: "hypervisor callbacks", reason: "no tracepoint"},
	{name: "HRE", description: "Hyper-V reenlightenment", reason: "no tracepoint"},
	{name: "HVS", description: "Hyper-V timer", reason: "no tracepoint"},
	{name: "PIN", description: "KVM posted interrupts", reason: "no tracepoint"},
	{name: "NPI", description: "KVM nested posted interrupts", reason: "no tracepoint"},
	{name: "PIW", description: "KVM posted-interrupt wake-ups", reason: "no tracepoint"},
	{name: "VPMI", description: "guest performance monitoring", reason: "no tracepoint"},
	{name: "PMN", description: "posted MSI notifications", reason: "no tracepoint"},
}

// kindsOfIPIs are the events of IPIs on arm64, whose rows are recognised by their text: their numbers differ by kernel
// (ipi_types in arch/arm64/kernel/smp.c).
var kindsOfIPIs = map[string]event.Kind{
	"Rescheduling interrupts":  event.RescheduleEnter,
	"Function call interrupts": event.CallFunctionEnter,
	"IRQ work interrupts":      event.IRQWorkEnter,
}

// timerOfARM64 is the device whose interrupts come as those of the CPU's timer.
const timerOfARM64 = "arch_timer"

// classesOf returns the classes that a table has: it shows by itself of which architecture it is.
func classesOf(table topology.Table) []class {
	var classes []class
	timer := class{description: "timer of the CPU", kinds: []event.Kind{event.LocalTimerEnter}}
	others := class{description: "other inter-processor interrupts", kinds: []event.Kind{event.IPIEnter}}
	for _, r := range table.Rows {
		isIPI := strings.HasPrefix(r.Name, "IPI") && isNumber(r.Name[len("IPI"):])
		switch kind, known := kindsOfIPIs[r.Description]; {
		case r.Device() == timerOfARM64:
			timer.rows = append(timer.rows, r.Name)
		case isIPI && known:
			classes = append(classes, class{name: r.Name, rows: []string{r.Name}, kinds: []event.Kind{kind}, description: r.Description})
		case isIPI:
			others.rows = append(others.rows, r.Name)
		}
	}
	if len(classes) == 0 {
		return classesOfX86
	}
	timer.name, others.name = cmp.Or(strings.Join(timer.rows, " "), timerOfARM64), cmp.Or(strings.Join(others.rows, " "), "IPI")
	return append(classes, timer, others)
}

// counted names the rows of a class.
func (c *class) counted() []string {
	if c.rows == nil {
		return []string{c.name}
	}
	return c.rows
}

// counts is the kernel's count, and ours from before and after it was read.
type counts record.Interrupts

// seen counts the interrupts that events showed, by CPU.
type seen = map[int]map[event.Kind]uint64

// came returns how many events of a kind came while the kernel's count was read.
func (c *counts) came(cpu int, k event.Kind) uint64 { return c.After[cpu][k] - c.Before[cpu][k] }

// tally is how many interrupts were seen between two counts, and how many may have come while one of the counts was
// read: the kernel's number can differ by those.
type tally struct{ seen, mayDiffer uint64 }

// maxCountTries bounds the attempts to read the two counts between two interrupts.
const maxCountTries = 20

// settleTime is how long neither count may have changed. An interrupt that
// is just being handled may be in one of them and not yet in the other.
const settleTime = 200 * time.Microsecond

// count reads both counts. They are exact when neither changed meanwhile.
func (o *Observer) count() (counts, error) {
	var c counts
	for range maxCountTries {
		before, err := o.read()
		if err != nil {
			return counts{}, err
		}
		time.Sleep(settleTime)
		if c, err = o.read(); err != nil {
			return counts{}, err
		}
		if c.Exact = o.equal(before, c); c.Exact {
			break
		}
	}
	return c, nil
}

func (o *Observer) read() (counts, error) {
	before := o.seen()
	table, err := topology.Interrupts(o.cfg.Files)
	return counts{Kernel: table, Before: before, After: o.seen()}, err
}

// equal reports whether neither count of the watched CPUs differs.
func (o *Observer) equal(a, b counts) bool {
	if !maps.EqualFunc(a.Before, b.After, maps.Equal[map[event.Kind]uint64]) {
		return false
	}
	diff := topology.Diff(a.Kernel, b.Kernel)
	for _, row := range diff.Rows {
		for cpu := range o.cfg.Trace.CPUs.All() {
			if n, ok := diff.Count(row.Name, cpu); ok && n > 0 {
				return false
			}
		}
	}
	return true
}

func (o *Observer) seen() seen {
	all := make(seen)
	for cpu := range o.cfg.Trace.CPUs.All() {
		all[cpu] = map[event.Kind]uint64{event.IRQEnter: o.tracer.Seen(cpu, event.IRQEnter)}
		for k := range event.Kinds() {
			if k.IsVectorEnter() {
				all[cpu][k] = o.tracer.Seen(cpu, k)
			}
		}
	}
	return all
}

// fillInterrupts adds the comparison to each CPU that was watched as a whole.
func (a *analysis) fillInterrupts(r *report.Report, end *record.Ending) {
	before, after := counts(end.Before), counts(end.After)
	diff := topology.Diff(before.Kernel, after.Kernel)
	for i := range r.CPUs {
		cpu := &r.CPUs[i]
		if !a.cpus.Contains(cpu.CPU) {
			continue
		}
		tallied := func(k event.Kind) tally {
			return tally{
				seen:      after.After[cpu.CPU][k] - before.After[cpu.CPU][k],
				mayDiffer: max(after.came(cpu.CPU, k), before.came(cpu.CPU, k)),
			}
		}
		exact := before.Exact && after.Exact
		reused := reusedInterrupt(before.Kernel, after.Kernel)
		cpu.Interrupts = &report.Interrupts{Exact: exact, Rows: compare(diff, reused, cpu.CPU, tallied, a.has)}
		if !exact {
			allowOneMore(cpu.Interrupts.Rows)
		}
	}
}

// allowOneMore allows for the interrupt that was just being handled when the counts were
// read: it can be in one of them and not yet in the other.
func allowOneMore(rows []report.InterruptRow) {
	for i := range rows {
		if rows[i].Seen != nil {
			rows[i].MayDiffer++
		}
	}
}

// reusedInterrupt names a device interrupt that was freed or given to another device between two counts, "" if there is
// none: its count is gone with it, or counts both devices.
func reusedInterrupt(before, after topology.Table) string {
	for _, was := range before.Rows {
		if !isNumber(was.Name) {
			continue
		}
		switch is, ok := after.Row(was.Name); {
		case !ok:
			return "interrupt " + was.Name + " (" + was.Description + ") was freed meanwhile, and its count with it"
		case is.Description != was.Description:
			return "interrupt " + was.Name + " changed from " + was.Description + " to " + is.Description + " meanwhile"
		}
	}
	return ""
}

// compare returns a row for each class in which something was counted.
func compare(diff topology.Table, reused string, cpu int, tallied func(event.Kind) tally, has func(event.Kind) bool) []report.InterruptRow {
	rows := []report.InterruptRow{}
	known := make(map[string]bool)
	for _, c := range classesOf(diff) {
		row := report.InterruptRow{Name: c.name, Description: c.description, Reason: c.reason}
		for _, name := range c.counted() {
			known[name] = true
			n, _ := diff.Count(name, cpu)
			row.Kernel += n
		}
		rows = appendRow(rows, row, c.kinds, tallied, has)
	}
	devices := report.InterruptRow{Name: "devices", Description: "device interrupts", Reason: reused}
	for _, r := range diff.Rows {
		n, ok := diff.Count(r.Name, cpu)
		switch {
		case !ok || n == 0 || known[r.Name]:
		case isNumber(r.Name):
			devices.Kernel += n
			if strings.Contains(r.Description, ",") {
				devices.Reason = "interrupt " + r.Name + " is shared: each of its handlers is an event"
			}
		default:
			rows = append(rows, report.InterruptRow{Name: r.Name, Description: r.Description, Kernel: n, Reason: "not known to taskiso"})
		}
	}
	return appendRow(rows, devices, []event.Kind{event.IRQEnter}, tallied, has)
}

func appendRow(rows []report.InterruptRow, row report.InterruptRow, kinds []event.Kind, tallied func(event.Kind) tally, has func(event.Kind) bool) []report.InterruptRow {
	var sum tally
	for _, k := range kinds {
		one := tallied(k)
		sum.seen += one.seen
		sum.mayDiffer += one.mayDiffer
		if !has(k) && row.Reason == "" {
			row.Reason = "this kernel has no tracepoint " + k.String()
		}
	}
	if row.Reason == "" {
		row.Seen, row.MayDiffer = &sum.seen, sum.mayDiffer
	}
	if row.Kernel == 0 && sum.seen == 0 {
		return rows
	}
	return append(rows, row)
}

func isNumber(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
}
