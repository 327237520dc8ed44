// SPDX-License-Identifier: Apache-2.0

package pagefault

// stackPointer is the bit of PERF_REG_ARM64_SP (arch/arm64/include/uapi/asm/perf_regs.h).
const stackPointer = 1 << 31
