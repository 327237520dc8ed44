/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Task isolation v4 and v5 (2020): the entry clears the flag and synchronises;
 * the NMI entry is the same function and returns early when the flag is clear.
 * LATE_MUTABLE=1 is v4, which set the flag while exit code was still to run.
 */
#define BUFFERED 1
#define GEN_FIRST 0
#define GEN_LAST 0
#define CLEAR(S,W,c,g)                                                  \
	S("reads its flag\n", g = READ(c));                             \
	if                                                              \
	:: W(g == USER, "clears the flag\n", STORE(c, KERNEL));         \
	   S("smp_mb\n", DRAIN(c));                                     \
	   S("instr_sync\n", SYNC(c))                                   \
	:: W(g != USER, "flag is clear: returns early\n", skip)         \
	fi;                                                             \
	S("goes on\n", g = 0)
#define ENTRY(c) CLEAR(T, TW, c, g)
#if LATE_MUTABLE
#define EXIT(c)                                                         \
	T("sets the flag\n", STORE(c, USER); DRAIN(c));                 \
	T("executes the rest of its exit code, patchable\n", TEXECUTE(c))
#else
#define EXIT(c) T("sets the flag\n", STORE(c, USER); DRAIN(c))
#endif
#define NENTER(S,W,c,o,g) CLEAR(S, W, c, g)
#define NEXIT(S,W,c,o) skip
#define MOVE_GEN skip
#define DECIDE(c)                                                       \
	if                                                              \
	:: PW(shows[c] == USER, "sees the flag: skips the CPU\n", defer = true) \
	:: PW(shows[c] != USER, "sees no flag\n", defer = false)        \
	fi
#define ACK(c) skip
