/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flag beside the page-table switch, v7 (2025): entry loads the kernel CR3,
 * which serialises, then sets the flag by a plain store. FLAG_FIRST=1 is the
 * order that the review discussed. Both restore in the NMI by the CR3 found.
 */
#ifndef FLAG_FIRST
#define FLAG_FIRST 0
#endif
#define BUFFERED 1
#define GEN_FIRST 0
#define GEN_LAST 0
#if FLAG_FIRST
#define SWITCH(S,c)                                                     \
	S("stores flag = 1\n", STORE(c, KERNEL));                       \
	S("loads the kernel CR3 (serialises)\n", SYNC(c); kcr3[c] = true)
#else
#define SWITCH(S,c)                                                     \
	S("loads the kernel CR3 (serialises)\n", SYNC(c); kcr3[c] = true); \
	S("stores flag = 1\n", STORE(c, KERNEL))
#endif
#define BACK(S,c)                                                       \
	S("stores flag = 0\n", STORE(c, USER));                         \
	S("loads the user CR3 (serialises)\n", kcr3[c] = false; DRAIN(c))
#define ENTRY(c) SWITCH(T, c)
#define EXIT(c) BACK(T, c)
#define NENTER(S,W,c,o,g)                                               \
	S("reads CR3\n", o = kcr3[c]);                                  \
	if                                                              \
	:: W(!o, "finds the user CR3\n", skip);                         \
	   SWITCH(S, c)                                                 \
	:: W(o, "finds the kernel CR3\n", skip)                         \
	fi
#define NEXIT(S,W,c,o)                                                  \
	if                                                              \
	:: W(!o, "restores the user CR3\n", skip);                      \
	   BACK(S, c)                                                   \
	:: W(o, "keeps the kernel CR3\n", skip)                         \
	fi
#define MOVE_GEN skip
#define DECIDE(c)                                                       \
	if                                                              \
	:: PW(shows[c] == USER, "sees flag 0: skips the CPU\n", defer = true) \
	:: PW(shows[c] != USER, "sees flag 1\n", defer = false)         \
	fi
#define ACK(c) skip
