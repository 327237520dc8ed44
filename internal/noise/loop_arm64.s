// SPDX-License-Identifier: Apache-2.0

#include "go_asm.h"
#include "textflag.h"

// ISB, because the counter may be read before what comes before it
// (__arch_counter_get_cntvct in arch/arm64/include/asm/arch_timer.h).

// func spin(from, threshold uint64, stop *uint32) (last, to, samples uint64)
TEXT ·spin(SB), NOSPLIT, $0-48
	MOVD	from+0(FP), R2	// the reading before
	MOVD	threshold+8(FP), R0
	MOVD	stop+16(FP), R1
	MOVD	$0, R6
loop:
	ISB	$15
	MRS	CNTVCT_EL0, R3
	ADD	$1, R6
	SUB	R2, R3, R4
	CMP	R0, R4
	BHS	gap
	MOVD	R3, R2
	MOVWU	(R1), R5
	CBZ	R5, loop
gap:
	MOVD	R2, last+24(FP)
	MOVD	R3, to+32(FP)
	MOVD	R6, samples+40(FP)
	RET

// func spinYielding(from, threshold uint64, stop, turn *uint32) (last, to, samples uint64)
TEXT ·spinYielding(SB), NOSPLIT, $0-56
	MOVD	from+0(FP), R2	// the reading before
	MOVD	threshold+8(FP), R0
	MOVD	stop+16(FP), R1
	MOVD	turn+24(FP), R7
	MOVD	$0, R6
loop:
	MOVWU	(R7), R5
	SUBW	$1, R5
	MOVW	R5, (R7)
	CBNZW	R5, read
	MOVD	$const_YieldEvery, R5
	MOVW	R5, (R7)
	YIELD
read:
	ISB	$15
	MRS	CNTVCT_EL0, R3
	ADD	$1, R6
	SUB	R2, R3, R4
	CMP	R0, R4
	BHS	gap
	MOVD	R3, R2
	MOVWU	(R1), R5
	CBZ	R5, loop
gap:
	MOVD	R2, last+32(FP)
	MOVD	R3, to+40(FP)
	MOVD	R6, samples+48(FP)
	RET

// func counter() uint64
TEXT ·counter(SB), NOSPLIT, $0-8
	ISB	$15
	MRS	CNTVCT_EL0, R0
	MOVD	R0, ret+0(FP)
	RET
