// SPDX-License-Identifier: Apache-2.0

package vmtest

import (
	"debug/elf"
	"fmt"
	"runtime"
)

// platform is all in which guests of one architecture differ from those of another.
type platform struct {
	emulator string   // QEMU's program
	machine  string   // -machine
	model    string   // -cpu, where nothing else is asked for and TCG emulates
	ports    portArgs // QEMU's options for two serial ports, console and result
	elf      elf.Machine
	console  string // the kernel's name of the first port
	result   string // and of the second
	compiler string // of C
}

// portArgs are options of QEMU that give a machine a serial port for each of two character devices.
type portArgs func(console, result string) []string

// platforms are keyed by Go's name of the architecture. Both ports of each have their driver built into Debian's kernels.
func platforms() map[string]platform {
	return map[string]platform{
		"amd64": {
			emulator: "qemu-system-x86_64",
			machine:  "q35",
			model:    "max",
			ports: func(console, result string) []string {
				return []string{
					"-device", "isa-serial,chardev=" + console + ",index=0",
					"-device", "isa-serial,chardev=" + result + ",index=1",
				}
			},
			elf:      elf.EM_X86_64,
			console:  "ttyS0",
			result:   "ttyS1", // virtio-serial is a module in Debian's 6.1
			compiler: "gcc",
		},
		"arm64": {
			emulator: "qemu-system-aarch64",
			machine:  "virt",
			// Signatures of pointers by an algorithm of QEMU's own: the architected one is slow to emulate.
			model: "max,pauth-impdef=on",
			// The machine has a second PL011 if it is given a second port (QEMU 9.1, hw/arm/virt.c).
			ports: func(console, result string) []string {
				return []string{"-serial", "chardev:" + console, "-serial", "chardev:" + result}
			},
			elf:      elf.EM_AARCH64,
			console:  "ttyAMA0",
			result:   "ttyAMA1",
			compiler: "aarch64-linux-gnu-gcc",
		},
	}
}

// here is the platform of this program: in a guest, the guest's.
func here() (platform, error) {
	p, ok := platforms()[runtime.GOARCH]
	if !ok {
		return p, fmt.Errorf("running tests in a guest: nothing is known of machines of architecture %s", runtime.GOARCH)
	}
	return p, nil
}
