// SPDX-License-Identifier: Apache-2.0

#include "textflag.h"

// func Yield()
TEXT ·Yield(SB), NOSPLIT, $0-0
	YIELD
	RET
