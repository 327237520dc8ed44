// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// finitModule is the function of finit_module(2): arch/x86/include/asm/syscall_wrapper.h.
const finitModule = "__x64_sys_finit_module"

// restartCall is ERESTARTNOINTR of include/linux/errno.h.
const restartCall = 513

// remake lets a stopped thread make its system call nr again when it goes on, if the
// stop has interrupted that. The kernel looks at the result then, as it was going to:
// arch_do_signal_or_restart() of arch/x86/kernel/signal.c.
func remake(tid, nr int, _ [6]uint64) error {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return fmt.Errorf("reading the registers of thread %d: %w", tid, err)
	}
	if int64(regs.Rax) != -int64(unix.EINTR) || int(regs.Orig_rax) != nr {
		return nil
	}
	again := int64(-restartCall)
	regs.Rax = uint64(again)
	if err := unix.PtraceSetRegs(tid, &regs); err != nil {
		return fmt.Errorf("letting thread %d make call %d again: %w", tid, nr, err)
	}
	return nil
}

// isAt reports whether a thread that is stopped at a system call is at that one.
func isAt(tid, nr int, args [6]uint64) bool {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return false
	}
	return int(regs.Orig_rax) == nr && [6]uint64{regs.Rdi, regs.Rsi, regs.Rdx, regs.R10, regs.R8, regs.R9} == args
}
