// SPDX-License-Identifier: Apache-2.0

#include "textflag.h"

// func spin(threshold uint64, stop *uint32) (from, to uint64)
TEXT ·spin(SB), NOSPLIT, $0-32
	MOVQ	threshold+0(FP), R8
	MOVQ	stop+8(FP), R9
	RDTSC
	SHLQ	$32, DX
	ORQ	DX, AX
	MOVQ	AX, R10	// the reading before
loop:
	RDTSC
	SHLQ	$32, DX
	ORQ	DX, AX
	MOVQ	AX, R11
	SUBQ	R10, R11
	CMPQ	R11, R8
	JCC	gap
	MOVQ	AX, R10
	CMPL	(R9), $0
	JEQ	loop
	MOVQ	AX, from+16(FP)
	MOVQ	AX, to+24(FP)
	RET
gap:
	MOVQ	R10, from+16(FP)
	MOVQ	AX, to+24(FP)
	RET

// func counter() uint64
TEXT ·counter(SB), NOSPLIT, $0-8
	RDTSC
	SHLQ	$32, DX
	ORQ	DX, AX
	MOVQ	AX, ret+0(FP)
	RET
