// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// finitModule is the function of finit_module(2): arch/arm64/include/asm/syscall_wrapper.h.
const finitModule = "__arm64_sys_finit_module"

// The set of general registers (NT_PRSTATUS of include/uapi/linux/elf.h), and the
// length of the instruction svc.
const (
	generalRegisters = 1
	callLength       = 4
)

// remake lets a stopped thread make its system call nr again when it goes on, if the
// stop has interrupted that. The kernel has looked at the result before it stopped
// (do_signal() of arch/arm64/kernel/signal.c), so that the thread is put back to the
// instruction of the call.
func remake(tid, nr int, args [6]uint64) error {
	var regs unix.PtraceRegsArm64
	if err := unix.PtraceGetRegSetArm64(tid, generalRegisters, &regs); err != nil {
		return fmt.Errorf("reading the registers of thread %d: %w", tid, err)
	}
	if int64(regs.Regs[0]) != -int64(unix.EINTR) || int(regs.Regs[8]) != nr {
		return nil
	}
	regs.Regs[0] = args[0]
	regs.Pc -= callLength
	if err := unix.PtraceSetRegSetArm64(tid, generalRegisters, &regs); err != nil {
		return fmt.Errorf("letting thread %d make call %d again: %w", tid, nr, err)
	}
	return nil
}

// isAt reports whether a thread that is stopped at a system call is at that one.
func isAt(tid, nr int, args [6]uint64) bool {
	var regs unix.PtraceRegsArm64
	if err := unix.PtraceGetRegSetArm64(tid, generalRegisters, &regs); err != nil {
		return false
	}
	return int(regs.Regs[8]) == nr && [6]uint64(regs.Regs[:6]) == args
}
