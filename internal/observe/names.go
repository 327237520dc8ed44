// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"io/fs"
	"strconv"

	"github.com/taskiso/taskiso/internal/ksym"
	"github.com/taskiso/taskiso/internal/sysname"
	"github.com/taskiso/taskiso/internal/topology"
)

// names resolves numbers by the kernel's own tables. A number that is in none of them stays a number.
type names struct {
	symbols    *ksym.Table
	symbolsErr error
	irqs       map[int]string
}

func newNames(files fs.FS) *names {
	n := &names{irqs: irqNames(files)}
	f, err := files.Open("proc/kallsyms")
	if err != nil {
		n.symbolsErr = err
		return n
	}
	defer f.Close()
	n.symbols, n.symbolsErr = ksym.Load(f)
	return n
}

// irqNames returns the device of each interrupt.
func irqNames(files fs.FS) map[int]string {
	irqs := make(map[int]string)
	table, err := topology.Interrupts(files)
	if err != nil {
		return irqs
	}
	for _, row := range table.Rows {
		number, err := strconv.Atoi(row.Name)
		if err == nil {
			irqs[number] = row.Device()
		}
	}
	return irqs
}

// Function returns the name of the function at addr. The kernel queues wake-ups without a function; its address is not
// known to the BPF programs if symbols are hidden.
func (n *names) Function(addr uint64) string {
	if addr == 0 {
		return "sched_ttwu_pending"
	}
	return n.symbols.Name(addr)
}

func (n *names) Syscall(number int) string { return sysname.Of(number) }

func (n *names) Device(irq int) string { return n.irqs[irq] }
