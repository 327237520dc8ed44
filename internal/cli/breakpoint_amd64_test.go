// SPDX-License-Identifier: Apache-2.0

package cli

import "golang.org/x/sys/unix"

var breakpointInstruction = []byte{0xcc} // int3

// rewind has a thread that ran into a breakpoint go on at its address.
func rewind(tid int, address uintptr) error {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return err
	}
	regs.Rip = uint64(address)
	return unix.PtraceSetRegs(tid, &regs)
}
