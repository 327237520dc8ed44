// SPDX-License-Identifier: Apache-2.0

package record

import (
	"fmt"
	"strconv"

	"github.com/taskiso/taskiso/internal/printable"
)

// maxNames bounds what names a reader keeps, in bytes. A recording has some hundred.
const maxNames = 16 << 20

// nameRoom is what each name takes beside its bytes.
const nameRoom = 80

// Recorded are the names of functions, system calls and interrupts that a recording holds.
type Recorded struct {
	functions map[uint64]string
	syscalls  map[uint64]string
	devices   map[int]string
	room      int // bytes that these take
}

// Function returns the kernel function at an address, which stands for itself if its name is not recorded.
func (n *Recorded) Function(addr uint64) string {
	if name, ok := n.functions[addr]; ok {
		return name
	}
	return hexadecimal(addr)
}

// Syscall returns the name of a system call, or its number.
func (n *Recorded) Syscall(number int) string {
	if name, ok := n.syscalls[uint64(number)]; ok {
		return name
	}
	return strconv.Itoa(number)
}

// Device returns the device of an interrupt as it may be shown, "" if it is not known.
func (n *Recorded) Device(irq int) string { return printable.Text(n.devices[irq]) }

func (n *Recorded) add(names map[uint64]string, number uint64, name string) {
	if names[number] == name || n.room > maxNames {
		return
	}
	n.room += nameRoom + len(name)
	names[number] = name
}

func hexadecimal(addr uint64) string { return fmt.Sprintf("%#x", addr) }
