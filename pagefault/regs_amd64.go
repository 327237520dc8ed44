// SPDX-License-Identifier: Apache-2.0

package pagefault

// stackPointer is the bit of PERF_REG_X86_SP (arch/x86/include/uapi/asm/perf_regs.h).
const stackPointer = 1 << 7
