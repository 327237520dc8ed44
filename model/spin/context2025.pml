/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Context tracking work, v7 (2025): one word holds the RCU-watching state and
 * the work bits. Entry sets watching, then flushes the work it got; an NMI
 * flushes only if RCU was not watching.
 */
#define BUFFERED 0
#define GEN_FIRST 0
#define GEN_LAST 0
#define FLUSH(S,W,c,g)                                                  \
	if                                                              \
	:: W(g == 1, "flushes the work: synchronises\n", SYNC(c))       \
	:: W(g == 0, "has no work\n", skip)                             \
	fi
#define ENTRY(c)                                                        \
	T("sets watching, gets the work\n", RMW(c, KERNEL); g = work[c]); \
	FLUSH(T, TW, c, g)
#define EXIT(c) T("clears watching and work\n", RMW(c, USER); work[c] = false)
#define NENTER(S,W,c,o,g)                                               \
	S("reads whether RCU watches\n", o = shows[c]);                 \
	if                                                              \
	:: W(o == USER, "sets watching, gets the work\n", RMW(c, KERNEL); g = work[c]); \
	   FLUSH(S, W, c, g)                                            \
	:: W(o != USER, "RCU watches: nothing to do\n", skip)           \
	fi
#define NEXIT(S,W,c,o)                                                  \
	if                                                              \
	:: W(o == USER, "clears watching and work\n", RMW(c, USER); work[c] = false) \
	:: W(o != USER, "leaves it\n", skip)                            \
	fi
#define MOVE_GEN skip
#define DECIDE(c)                                                       \
	if                                                              \
	:: PW(shows[c] == USER, "RCU does not watch: sets the work bit in the same exchange\n", work[c] = true; defer = true) \
	:: PW(shows[c] != USER, "RCU watches\n", defer = false)         \
	fi
#define ACK(c) skip
