// SPDX-License-Identifier: Apache-2.0

// Package emulator is for loops that may run on a CPU that QEMU emulates (TCG).
//
// With thread=single one thread of QEMU runs all CPUs of a machine in turn. It goes on to
// the next one when a CPU halts or executes PAUSE (helper_pause in
// target/i386/tcg/misc_helper.c) or YIELD (HELPER(yield) in target/arm/tcg/op_helper.c),
// and else after 100 ms (TCG_KICK_PERIOD in accel/tcg/tcg-accel-ops-rr.c). A loop that
// executes neither makes all others wait for that long, each time they wait for its CPU.
package emulator

import (
	"encoding/binary"
	"io/fs"
	"strconv"
	"strings"
)

// Found reports whether QEMU emulates this machine. Where that cannot be found out it is false:
// a loop that yields on hardware would measure its own yielding.
func Found(files fs.FS) bool { return found(files) }

// What CPUID returns (Intel SDM vol. 2, CPUID; x86_cpu_realizefn and cpu_x86_cpuid in target/i386/cpu.c).
const (
	features         = 1
	underHypervisor  = 1 << 31 // in ECX; without it the next leaf means something else
	hypervisor       = 0x40000000
	tcgSignature     = "TCGTCGTCGTCG"
	signatureMaxSize = 12
)

// byCPUID asks an x86 CPU who its hypervisor is.
func byCPUID(cpuid func(leaf uint32) (a, b, c, d uint32)) bool {
	if _, _, c, _ := cpuid(features); c&underHypervisor == 0 {
		return false
	}
	_, b, c, d := cpuid(hypervisor)
	signature := make([]byte, 0, signatureMaxSize)
	for _, word := range []uint32{b, c, d} {
		signature = binary.LittleEndian.AppendUint32(signature, word)
	}
	return string(signature) == tcgSignature
}

// midrOfMax is the identity of QEMU's CPU "max" when it is emulated: an implementer of 0, which
// Arm leaves to software, and part 'Q' (aarch64_max_tcg_initfn in target/arm/tcg/cpu64.c). Other
// models have the identity of the CPU that they are made after, and with KVM so has "max".
const midrOfMax = 0x000f0510

// byMIDR looks up what an arm64 CPU that is online calls itself.
func byMIDR(files fs.FS) bool {
	names, err := fs.Glob(files, "sys/devices/system/cpu/cpu[0-9]*/regs/identification/midr_el1")
	if err != nil || len(names) == 0 {
		return false
	}
	text, err := fs.ReadFile(files, names[0])
	if err != nil {
		return false
	}
	midr, err := strconv.ParseUint(strings.TrimSpace(string(text)), 0, 64)
	return err == nil && midr == midrOfMax
}
