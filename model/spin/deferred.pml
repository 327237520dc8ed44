/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protocols of docs/design/05-deferred-synchronisation.md.
 *
 *	GENERATION=1  A': synchronise only if the generation moved (default)
 *	GENERATION=0  A:  synchronise at every entry
 *	HANDSHAKE=1   B:  poster and exit agree who serves a request
 *
 * DROP removes one constraint; each must then fail.
 */
#ifndef GENERATION
#define GENERATION 1
#endif
#ifndef HANDSHAKE
#define HANDSHAKE 0
#endif
#define RECORD_FIRST 1      /* C8: entry records before it synchronises */
#define NMI_RECORD_FIRST 2  /* C8: so does the NMI */
#define NMI_NO_CATCH_UP 3   /* C7: NMI in the kernel trusts its entry */
#define NMI_SETS_USER 4     /* C9: NMI exit publishes user whatever it found */
#define SYNCED_OUTLIVES 5   /* C10: the mark outlives the stay */
#define NMI_LOOKS_KERNEL 6  /* C12: NMI from user is published as kernel */
#define EXIT_IGNORES_REQ 7  /* C12: exit does not look for a request */
#define SKIP_NMI_USER 8     /* C12: NMI from user taken for user */
#define PLAIN_PUBLISH 9     /* C13, C4: published by a store that may linger */
#define PUBLISH_AFTER 10    /* C4: published after synchronising */
#define NMI_NO_PUBLISH 11   /* C7: NMI from user does not publish */
#ifndef DROP
#define DROP 0
#endif
#define GEN_FIRST (DROP == 12)  /* C6: generation before the text */
#define GEN_LAST (DROP == 13)   /* C6: generation after looking */
#define BUFFERED (DROP == PLAIN_PUBLISH)

#if DROP == PLAIN_PUBLISH
#define SHOW(c,x) STORE(c, x)
#define CATCH(c) ISB(c)
#else
#define SHOW(c,x) RMW(c, x)
#define CATCH(c) SYNC(c)
#endif

/* Catch up: do, then record. */
#if GENERATION && (DROP == RECORD_FIRST)
#define CATCHUP(S,W,c,g)                                                \
	S("reads the generation\n", g = gen);                           \
	if                                                              \
	:: W(g != recorded[c], "records it\n", recorded[c] = g);        \
	   S("synchronises\n", CATCH(c))                                \
	:: W(g == recorded[c], "finds it unchanged\n", skip)            \
	fi
#elif GENERATION
#define CATCHUP(S,W,c,g)                                                \
	S("reads the generation\n", g = gen);                           \
	if                                                              \
	:: W(g != recorded[c], "finds it moved, synchronises\n", CATCH(c)); \
	   S("records it\n", recorded[c] = g)                           \
	:: W(g == recorded[c], "finds it unchanged\n", skip)            \
	fi
#elif DROP == RECORD_FIRST
#define CATCHUP(S,W,c,g)                                                \
	S("records: synced\n", synced[c] = true);                       \
	S("synchronises\n", CATCH(c))
#else
#define CATCHUP(S,W,c,g)                                                \
	S("synchronises\n", CATCH(c));                                  \
	S("records: synced\n", synced[c] = true)
#endif

#if DROP == PUBLISH_AFTER
#define ENTRY(c)                                                        \
	CATCHUP(T, TW, c, g);                                           \
	T("publishes kernel\n", SHOW(c, KERNEL); g = 0)
#else
#define ENTRY(c)                                                        \
	T("publishes kernel\n", SHOW(c, KERNEL));                       \
	CATCHUP(T, TW, c, g);                                           \
	T("enters patchable kernel code\n", g = 0)
#endif

#if LATE_MUTABLE
#define TAIL_OF_EXIT(c) ; T("executes the rest of its exit code, patchable\n", TEXECUTE(c))
#else
#define TAIL_OF_EXIT(c)
#endif

#if HANDSHAKE && DROP != EXIT_IGNORES_REQ
#define TO_USER(c)                                                      \
	if                                                              \
	:: TW((shows[c] & REQ) != 0, "finds a request, enables interrupts\n", skip); \
	   TW(ipi[c], "takes the interrupt: synchronises, acknowledges\n", SYNC(c); ACK(c); ipi[c] = 0); \
	   goto leave                                                   \
	:: TW(shows[c] == KERNEL, "publishes user, no request in between\n", EQS; RMW(c, USER)) \
	fi
#else
#define TO_USER(c) T("publishes user\n", EQS; SHOW(c, USER))
#endif

#if !GENERATION && DROP != SYNCED_OUTLIVES
#define EXIT(c)                                                         \
	T("forgets: synced\n", synced[c] = false);                      \
	TO_USER(c)                                                      \
	TAIL_OF_EXIT(c)
#elif !GENERATION
#define EXIT(c)                                                         \
	TO_USER(c);                                                     \
	T("forgets: synced\n", synced[c] = false)
#else
#define EXIT(c)                                                         \
	TO_USER(c)                                                      \
	TAIL_OF_EXIT(c)
#endif

#if HANDSHAKE && DROP != NMI_LOOKS_KERNEL
#define FROM_USER NMI_USER
#else
#define FROM_USER KERNEL
#endif
#if DROP == NMI_NO_PUBLISH
#define NSHOW(S,W,c,o) S("reads the state\n", o = shows[c] & 3)
#else
#define NSHOW(S,W,c,o)                                                  \
	S("reads the state\n", o = shows[c] & 3);                       \
	if                                                              \
	:: W(o == USER, "publishes, because it was user\n", SHOW(c, FROM_USER)) \
	:: W(o != USER, "leaves it as it is\n", skip)                   \
	fi
#endif
#if DROP == NMI_NO_CATCH_UP
#define NCATCHUP(S,W,c,o,g)                                             \
	if                                                              \
	:: W(o == USER, "synchronises\n", CATCH(c))                     \
	:: W(o != USER, "trusts the entry that it hit\n", skip)         \
	fi
#elif DROP == NMI_RECORD_FIRST
#define NCATCHUP(S,W,c,o,g)                                             \
	S("reads the generation\n", g = gen);                           \
	if                                                              \
	:: W(g != recorded[c], "records it\n", recorded[c] = g);        \
	   S("synchronises\n", CATCH(c))                                \
	:: W(g == recorded[c], "finds it unchanged\n", skip)            \
	fi
#elif GENERATION
#define NCATCHUP(S,W,c,o,g) CATCHUP(S, W, c, g)
#else
#define NCATCHUP(S,W,c,o,g)                                             \
	if                                                              \
	:: W(!synced[c], "is not synced, synchronises\n", CATCH(c))     \
	:: W(synced[c], "is synced\n", skip)                            \
	fi
#endif
#define NENTER(S,W,c,o,g) NSHOW(S, W, c, o); NCATCHUP(S, W, c, o, g)

#if DROP == NMI_SETS_USER
#define NEXIT(S,W,c,o) S("publishes user\n", EQS; SHOW(c, USER))
#else
#define NEXIT(S,W,c,o)                                                  \
	if                                                              \
	:: W(o == USER, "restores user\n", EQS; SHOW(c, USER))          \
	:: W(o != USER, "leaves the state as it found it\n", skip)      \
	fi
#endif

#if GENERATION
#define MOVE_GEN P("moves the generation, full barrier\n", gen++)
#else
#define MOVE_GEN skip
#endif

#if DROP == SKIP_NMI_USER
#define AWAY(c) (shows[c] == USER || shows[c] == NMI_USER)
#else
#define AWAY(c) (shows[c] == USER)
#endif
#if HANDSHAKE
/* NMI from user, or another poster's request: short, look again. */
#define DECIDE(c)                                                       \
	if                                                              \
	:: PW(AWAY(c), "sees user: defers\n", defer = true)             \
	:: PW(shows[c] == KERNEL, "sees kernel: requests, in the same exchange\n", shows[c] = KERNEL | REQ; defer = false) \
	fi
#define ACK(c) shows[c] = shows[c] & ~REQ
#else
#define DECIDE(c)                                                       \
	if                                                              \
	:: PW(AWAY(c), "sees user: defers\n", defer = true)             \
	:: PW(!AWAY(c), "sees kernel\n", defer = false)                 \
	fi
#define ACK(c) skip
#endif
