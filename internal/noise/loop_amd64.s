// SPDX-License-Identifier: Apache-2.0

#include "go_asm.h"
#include "textflag.h"

// LFENCE, because RDTSC is not ordered: it may be executed before what comes
// before it (Intel SDM vol. 2, RDTSC). The kernel's clocks read it so as well
// (rdtsc_ordered in arch/x86/include/asm/tsc.h).

// func spin(from, threshold uint64, stop *uint32) (last, to, samples uint64)
TEXT ·spin(SB), NOSPLIT, $0-48
	MOVQ	from+0(FP), R10	// the reading before
	MOVQ	threshold+8(FP), R8
	MOVQ	stop+16(FP), R9
	XORL	R12, R12
loop:
	LFENCE
	RDTSC
	SHLQ	$32, DX
	ORQ	DX, AX
	INCQ	R12
	MOVQ	AX, R11
	SUBQ	R10, R11
	CMPQ	R11, R8
	JCC	gap
	MOVQ	AX, R10
	CMPL	(R9), $0
	JEQ	loop
gap:
	MOVQ	R10, last+24(FP)
	MOVQ	AX, to+32(FP)
	MOVQ	R12, samples+40(FP)
	RET

// func spinYielding(from, threshold uint64, stop, turn *uint32) (last, to, samples uint64)
TEXT ·spinYielding(SB), NOSPLIT, $0-56
	MOVQ	from+0(FP), R10	// the reading before
	MOVQ	threshold+8(FP), R8
	MOVQ	stop+16(FP), R9
	MOVQ	turn+24(FP), R13
	XORL	R12, R12
loop:
	DECL	(R13)
	JNE	read
	MOVL	$const_YieldEvery, (R13)
	PAUSE
read:
	LFENCE
	RDTSC
	SHLQ	$32, DX
	ORQ	DX, AX
	INCQ	R12
	MOVQ	AX, R11
	SUBQ	R10, R11
	CMPQ	R11, R8
	JCC	gap
	MOVQ	AX, R10
	CMPL	(R9), $0
	JEQ	loop
gap:
	MOVQ	R10, last+32(FP)
	MOVQ	AX, to+40(FP)
	MOVQ	R12, samples+48(FP)
	RET

// func counter() uint64
TEXT ·counter(SB), NOSPLIT, $0-8
	LFENCE
	RDTSC
	SHLQ	$32, DX
	ORQ	DX, AX
	MOVQ	AX, ret+0(FP)
	RET

// func hasRDTSCP() bool
TEXT ·hasRDTSCP(SB), NOSPLIT, $0-1
	MOVB	$0, ret+0(FP)
	MOVL	$0x80000000, AX
	CPUID
	CMPL	AX, $0x80000001
	JCS	no
	MOVL	$0x80000001, AX
	CPUID
	BTL	$27, DX
	JCC	no
	MOVB	$1, ret+0(FP)
no:
	RET

// func tscAux() uint32
TEXT ·tscAux(SB), NOSPLIT, $0-4
	RDTSCP
	MOVL	CX, ret+0(FP)
	RET
