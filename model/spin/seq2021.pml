/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Context tracking RFC v2 (2021): a sequence word with user, NMI and work
 * bits, and a second word with the work; the work bit is cleared after the
 * work is done; NMIs look again.
 */
#define BUFFERED 0
#define GEN_FIRST 0
#define GEN_LAST 0
#define FLUSH(S,W,c,g)                                                  \
	if                                                              \
	:: W(g == 1, "reads the work word\n", g = work[c]);             \
	   if                                                           \
	   :: W(g == 1, "synchronises\n", SYNC(c));                     \
	      S("clears the work\n", work[c] = false)                   \
	   :: W(g == 0, "no work\n", skip)                              \
	   fi;                                                          \
	   S("clears the work bit\n", workbit[c] = false)               \
	:: W(g == 0, "no work bit\n", skip)                             \
	fi
#define ENTRY(c)                                                        \
	T("moves the sequence to kernel, gets the work bit\n", RMW(c, KERNEL); seq[c] = (seq[c] + 1) % 8; g = workbit[c]); \
	FLUSH(T, TW, c, g)
#define EXIT(c)                                                         \
	T("clears the work\n", work[c] = false);                        \
	T("moves the sequence to user\n", RMW(c, USER))
#define NENTER(S,W,c,o,g)                                               \
	S("sets the NMI bit, gets the work bit\n", nmibit[c] = true; g = workbit[c]); \
	FLUSH(S, W, c, g)
#define NEXIT(S,W,c,o)                                                  \
	S("clears the work\n", work[c] = false);                        \
	S("clears the NMI bit, moves the sequence\n", nmibit[c] = false; seq[c] = (seq[c] + 1) % 8)
#define MOVE_GEN skip
#define DECIDE(c)                                                       \
	P("reads the sequence\n", defer = (shows[c] == USER && !nmibit[c]); i2 = seq[c]); \
	if                                                              \
	:: PW(defer, "sets the work\n", work[c] = true);                \
	   if                                                           \
	   :: PW(shows[c] == USER && !nmibit[c] && i2 == seq[c], "sets the work bit in one exchange\n", workbit[c] = true) \
	   :: PW(!(shows[c] == USER && !nmibit[c] && i2 == seq[c]), "the sequence has moved\n", defer = false) \
	   fi                                                           \
	:: !defer                                                       \
	fi
#define ACK(c) skip
