// SPDX-License-Identifier: Apache-2.0

#include "textflag.h"

// func spin(threshold uint64, stop *uint32) (from, to uint64)
TEXT ·spin(SB), NOSPLIT, $0-32
	MOVD	threshold+0(FP), R0
	MOVD	stop+8(FP), R1
	MRS	CNTVCT_EL0, R2	// the reading before
loop:
	MRS	CNTVCT_EL0, R3
	SUB	R2, R3, R4
	CMP	R0, R4
	BHS	gap
	MOVD	R3, R2
	MOVWU	(R1), R5
	CBZ	R5, loop
gap:
	MOVD	R2, from+16(FP)
	MOVD	R3, to+24(FP)
	RET

// func counter() uint64
TEXT ·counter(SB), NOSPLIT, $0-8
	MRS	CNTVCT_EL0, R0
	MOVD	R0, ret+0(FP)
	RET
