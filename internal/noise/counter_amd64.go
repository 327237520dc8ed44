// SPDX-License-Identifier: Apache-2.0

package noise

const cpuCounter = TSC

// hasRDTSCP reports whether the CPU has the instruction that tscAux is made of.
func hasRDTSCP() bool

// tscAux returns what the kernel has written to the CPU's register TSC_AUX.
func tscAux() uint32

// Linux puts the CPU's number below its node's (VDSO_CPUNODE_BITS in
// arch/x86/include/asm/segment.h, setup_getcpu in arch/x86/kernel/cpu/common.c).
const auxCPU = 1<<12 - 1

// whereabouts returns the CPU that this thread is on, without a system call, or -1.
//
//go:nosplit
func (l *Loop) whereabouts() int64 {
	if !l.canTellCPU {
		return -1
	}
	return int64(tscAux() & auxCPU)
}

func canTellCPU() bool { return hasRDTSCP() }
