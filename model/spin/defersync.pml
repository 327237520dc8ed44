/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deferred instruction synchronisation of isolated CPUs.
 *
 * Isolated CPUs run a task, NMIs and machine checks on them nest, posters
 * patch kernel text and defer the synchronisation of CPUs that are in user
 * mode. Spin visits every interleaving. The protocol is in a file of its own:
 *
 *	spin -DPROTOCOL=DEFERRED -DHANDSHAKE=1 -a defersync.pml
 *
 * model/runs.go lists all runs; `make model` does them.
 *
 * A protocol defines, as sequences of steps S(text, statement) and guarded
 * steps W(condition, text, statement) of the level that executes them:
 *
 *	ENTRY(c)            from hardware entry to the first patchable instruction
 *	EXIT(c)             from the last patchable instruction to user mode
 *	NENTER(S,W,c,o,g)   the same for an NMI-like entry; o and g are its locals
 *	NEXIT(S,W,c,o)
 *	DECIDE(c)           a poster's one atomic look at CPU c: sets defer
 *	MOVE_GEN            what a poster does between text and looking
 *	ACK(c)              what the interrupt handler does after synchronising
 *
 * Bounds: ROUNDS kernel entries, NMIS and MCS NMI-like entries of each CPU,
 * STEPS text versions of each poster.
 *
 * Memory: the one location through which a CPU and a poster race is the CPU's
 * published state, so that has a store buffer (STORE, DRAIN; RMW drains), as
 * has a poster's text with BARRIER=0. ARM=1 adds an instruction cache that the
 * poster has to invalidate. Fetching is the architectural worst case: anything
 * from the version of the CPU's last synchronisation to the newest.
 */
#define DEFERRED 0
#define ISOLATION2020 1
#define SEQ2021 2
#define CONTEXT2025 3
#define CR3FLAG2025 4
#ifndef PROTOCOL
#define PROTOCOL DEFERRED
#endif
#ifndef NCPU
#define NCPU 1
#endif
#ifndef NPOSTER
#define NPOSTER 1
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef NMIS
#define NMIS 1
#endif
#ifndef MCS
#define MCS 0
#endif
#ifndef STEPS
#define STEPS 3
#endif
#ifndef ARM
#define ARM 0           /* fetches come from an I-cache */
#endif
#ifndef ENTRY_SYNC
#define ENTRY_SYNC 0    /* arm64: exception entry synchronises the context */
#endif
#ifndef RCU
#define RCU 0           /* a grace period samples the same word */
#endif
#ifndef INT3
#define INT3 0          /* versions are the phases of INT3 patching */
#endif
#ifndef LIVE
#define LIVE 0          /* check that everybody finishes */
#endif
#ifndef NOLATE
#define NOLATE 0        /* no interrupt may hit user mode */
#endif
/* constraints to drop, 1 each */
#ifndef BARRIER
#define BARRIER 1       /* C5: between the text and looking at the state */
#endif
#ifndef WAIT
#define WAIT 1          /* C5: for the acknowledgement */
#endif
#ifndef IC_LATE
#define IC_LATE 0       /* A3: I-cache invalidated after looking */
#endif
#ifndef NOT_SERIALISING
#define NOT_SERIALISING 0 /* C3: the instruction used to synchronise is none */
#endif
#ifndef EARLY_MUTABLE
#define EARLY_MUTABLE 0 /* C1: patchable instruction before the synchronisation */
#endif
#ifndef LATE_MUTABLE
#define LATE_MUTABLE 0  /* C2: patchable instruction after user was published */
#endif
#ifndef HOTPLUG
#define HOTPLUG 0       /* C19: CPU 0 is offline at first; 2 does not synchronise, 3 records what it reads afterwards */
#endif
#ifndef NMI_LOCK
#define NMI_LOCK 0      /* C20: NMIs take a lock that posters hold */
#endif
#ifndef ONLY_NMI
#define ONLY_NMI 0      /* look at what NMIs on kernel page tables execute only */
#endif

#define USER 0          /* synchronisation may be deferred */
#define KERNEL 1        /* it must not */
#define NMI_USER 2      /* inside an NMI that hit user mode */
#define REQ 4           /* a poster asked the CPU not to leave */

byte mem[NPOSTER];      /* newest text version */
byte icache[NPOSTER];   /* ARM: what a synchronised fetch sees */
byte trusted[NPOSTER];     /* version that the poster takes for synchronised */
byte seen[NCPU * NPOSTER]; /* oldest version that the CPU may still execute */
byte shows[NCPU];       /* CPU state as others see it */
byte buffered[NCPU]; bool buffering[NCPU];
byte pbuffered; bool pbuffering;
byte gen;               /* the generation; gen and recorded are used by A' */
byte recorded[NCPU];
bool synced[NCPU];      /* used by A */
byte ipi[NCPU];         /* a bit for each poster */
bool in_nmi[NCPU], in_mc[NCPU];
byte nmis[NCPU], mcs[NCPU];
byte posters_done, cpus_done;
bool reader_ptr = true, freed;
byte eqs;
byte refs;              /* INT3: the handler knows the patch */
bool lock;
/* state of historical protocols */
bool work[NCPU], workbit[NCPU], nmibit[NCPU], kcr3[NCPU]; byte seq[NCPU];

#define READ(c)   (buffering[c] -> buffered[c] : shows[c])
#define DRAIN(c)  if :: buffering[c] -> shows[c] = buffered[c]; buffering[c] = false :: else fi
#define STORE(c,x) DRAIN(c); buffered[c] = x; buffering[c] = true
#define RMW(c,x)  DRAIN(c); shows[c] = x

#if ARM
#define VISIBLE(p) icache[p]
#else
#define VISIBLE(p) mem[p]
#endif
#define AT(c,p) seen[(c) * NPOSTER + (p)]
#if NOT_SERIALISING
#define REFETCH(c) skip
#elif NPOSTER == 1
#define REFETCH(c) AT(c, 0) = VISIBLE(0)
#else
#define REFETCH(c) AT(c, 0) = VISIBLE(0); AT(c, 1) = VISIBLE(1)
#endif
#define SYNC(c)   DRAIN(c); REFETCH(c)   /* x86 serialising; arm64 DSB, ISB */
#define ISB(c)    REFETCH(c)             /* arm64 ISB alone */

/* Executing patchable text. */
#if INT3
/* Each byte may come from any version that the CPU may still have. Phase 1
 * and 2 of three have INT3 as first byte, phase 2 has the new tail. */
#if INT3 == 3
#define FIRST(v) ((v) / 2)            /* no INT3: tail, then first byte */
#define TAIL(v)  (((v) + 1) / 2)
#define TRAPS(v) false
#else
#define FIRST(v) ((v) / 3)
#define TAIL(v)  (((v) + 1) / 3)
#define TRAPS(v) ((v) % 3 != 0)
#endif
inline execute(c) {
	byte vf, vt;
	vf = AT(c, 0); vt = AT(c, 0);
	do :: vf < mem[0] -> vf++ :: break od;
	do :: vt < mem[0] -> vt++ :: break od;
	assert(!TRAPS(vf) || refs > 0);               /* INT3 nobody knows */
	assert(TRAPS(vf) || FIRST(vf) == TAIL(vt));   /* torn instruction */
	vf = 0; vt = 0
}
#define EXECUTE(c) execute(c)
#elif NPOSTER == 1
#define EXECUTE(c) assert(AT(c, 0) >= trusted[0])
#else
#define EXECUTE(c) assert(AT(c, 0) >= trusted[0] && AT(c, 1) >= trusted[1])
#endif
#if ONLY_NMI
#define TEXECUTE(c) skip
#define NMIWHEN(c) kcr3[c]
#else
#define TEXECUTE(c) EXECUTE(c)
#define NMIWHEN(c) true
#endif

#if RCU
#define EQS       eqs = (eqs + 1) % 4
#define READER(r) r = reader_ptr
#define USE(r)    assert(!(r && freed)); r = false
#else
#define EQS       skip
#endif
#if ENTRY_SYNC
#define HWENTRY(c) ISB(c)
#else
#define HWENTRY(c) skip
#endif

/* Steps: of the task, of an NMI, of a machine check. The text is for traces. */
#define FREE(c)   (!in_nmi[c] && !in_mc[c])
#define T(text, s)    atomic { FREE(c) -> s; printf("@cpu\t%d\t", c); printf(text) }
#define TW(g, text, s) atomic { (FREE(c) && (g)) -> s; printf("@cpu\t%d\t", c); printf(text) }
#define N(text, s)    atomic { !in_mc[c] -> s; printf("@nmi\t%d\t", c); printf(text) }
#define NW(g, text, s) atomic { (!in_mc[c] && (g)) -> s; printf("@nmi\t%d\t", c); printf(text) }
#define X(text, s)    atomic { s; printf("@mce\t%d\t", c); printf(text) }
#define XW(g, text, s) atomic { (g) -> s; printf("@mce\t%d\t", c); printf(text) }

#if PROTOCOL == DEFERRED
#include "deferred.pml"
#elif PROTOCOL == ISOLATION2020
#include "isolation2020.pml"
#elif PROTOCOL == SEQ2021
#include "seq2021.pml"
#elif PROTOCOL == CONTEXT2025
#include "context2025.pml"
#elif PROTOCOL == CR3FLAG2025
#include "cr3flag2025.pml"
#endif

proctype cpu(byte c)
{
	byte n, g; bool r;
#if HOTPLUG
	/* An offline CPU executes nothing and counts as deferred. */
	T("comes online: publishes kernel\n", RMW(c, KERNEL));
#if HOTPLUG == 1
	T("reads the generation\n", g = gen);
	T("synchronises\n", SYNC(c));
	T("records the generation that it read\n", recorded[c] = g; g = 0);
#elif HOTPLUG == 2
	T("records the generation\n", recorded[c] = gen);
#else
	T("synchronises\n", SYNC(c));
	T("reads and records the generation\n", recorded[c] = gen);
#endif
	goto kernel;
#endif
user:	do
	:: TW(ipi[c], "is interrupted in user mode\n", skip);
#if NOLATE
		assert(false);
#endif
		goto entry
	:: TW(n < ROUNDS, "enters the kernel\n", n++; HWENTRY(c)); goto entry
	:: TW(posters_done == NPOSTER && !ipi[c] && n == ROUNDS, "stays in user mode\n", skip); goto out
	od;

entry:
#if EARLY_MUTABLE
	T("executes patchable code\n", TEXECUTE(c));
#endif
	ENTRY(c);
kernel:	T("executes patchable code\n", TEXECUTE(c));
#if RCU
	T("reads a pointer\n", READER(r));
	T("uses it\n", USE(r));
#endif
	do
	:: TW(ipi[c], "takes the interrupt: synchronises, acknowledges\n", TEXECUTE(c); SYNC(c); ACK(c); ipi[c] = 0)
#if !LIVE
	:: T("executes patchable code\n", TEXECUTE(c))
	:: T("disables interrupts, begins to leave\n", skip); break
#else
	:: TW(!ipi[c], "disables interrupts, begins to leave\n", skip); break
#endif
	od;
leave:	T("executes its last patchable instruction\n", TEXECUTE(c));
	EXIT(c);
	goto user;
out:	T("ends\n", cpus_done++)
}

proctype nmi(byte c)
{
	byte o, g; bool r;
	do
	:: atomic { nmis[c] < NMIS && cpus_done < NCPU && !in_mc[c] && NMIWHEN(c) -> nmis[c]++; in_nmi[c] = true; HWENTRY(c); printf("@nmi\t%d\tarrives\n", c) };
		NENTER(N, NW, c, o, g);
#if NMI_LOCK
		NW(!lock, "takes the lock\n", skip);
#endif
		N("executes patchable code\n", EXECUTE(c));
#if RCU
		N("reads a pointer\n", READER(r));
		N("uses it\n", USE(r));
#endif
		NEXIT(N, NW, c, o);
		atomic { in_nmi[c] = false; o = 0; g = 0; r = false; printf("@nmi\t%d\treturns\n", c) }
	:: cpus_done == NCPU -> break
	od
}

#if MCS
proctype mce(byte c)
{
	byte o, g; bool r;
	do
	:: atomic { mcs[c] < MCS && cpus_done < NCPU -> mcs[c]++; in_mc[c] = true; HWENTRY(c); printf("@mce\t%d\tarrives\n", c) };
		NENTER(X, XW, c, o, g);
		X("executes patchable code\n", EXECUTE(c));
#if RCU
		X("reads a pointer\n", READER(r));
		X("uses it\n", USE(r));
#endif
		NEXIT(X, XW, c, o);
		atomic { in_mc[c] = false; o = 0; g = 0; r = false; printf("@mce\t%d\treturns\n", c) }
	:: cpus_done == NCPU -> break
	od
}
#endif

#define P(text, s)    atomic { s; printf("@poster\t%d\t", p); printf(text) }
#define PW(g, text, s) atomic { (g) -> s; printf("@poster\t%d\t", p); printf(text) }

/* look at CPU c: defer, or interrupt it */
#define LOOK(c)                                                         \
	DECIDE(c);                                                      \
	if                                                              \
	:: defer                                                        \
	:: !defer -> P("sends the interrupt\n", ipi[c] = ipi[c] | (1 << p)) \
	fi
#if WAIT
#define ACKED(c) PW(!(ipi[c] & (1 << p)), "sees it acknowledged, or none sent\n", skip)
#else
#define ACKED(c) skip
#endif

proctype poster(byte p)
{
	byte i, i2; bool defer;
#if INT3
	P("registers the patch with the INT3 handler\n", refs = 1);
#endif
	do
	:: i < STEPS ->
		i++;
#if NMI_LOCK
		PW(!lock, "takes the lock\n", lock = true);
#endif
#if GEN_FIRST
		P("moves the generation\n", gen++);
#endif
#if BARRIER
		P("writes the text, full barrier\n", mem[p] = i);
#else
		atomic { !pbuffering -> pbuffered = i; pbuffering = true; printf("@poster\t%d\twrites the text, into its store buffer\n", p) };
#endif
#if ARM && !IC_LATE
		P("invalidates the I-cache\n", icache[p] = mem[p]);
#endif
#if INT3 == 2
		if   /* C11: INT3 and tail in one go */
		:: i % 3 == 1 -> i++; P("writes the tail without synchronising INT3\n", mem[p] = i)
		:: else
		fi;
#endif
#if INT3 == 4
		if   /* C11: forgotten before the last phase is synchronised */
		:: i % 3 == 0 -> P("unregisters the patch early\n", refs = 0)
		:: else
		fi;
#endif
#if !GEN_FIRST && !GEN_LAST
		MOVE_GEN;
#endif
		LOOK(0);
#if NCPU == 2
		LOOK(1);
#endif
#if GEN_LAST
		P("moves the generation\n", gen++);
#endif
		ACKED(0);
#if NCPU == 2
		ACKED(1);
#endif
#if !BARRIER
		!pbuffering;
#endif
#if ARM && IC_LATE
		P("invalidates the I-cache\n", icache[p] = mem[p]);
#endif
#if NMI_LOCK
		lock = false;
#endif
		P("takes the version for synchronised\n", trusted[p] = i; defer = false; i2 = 0)
	:: else -> break
	od;
#if INT3
	P("unregisters the patch\n", refs = 0);
#endif
	posters_done++
}

/* a store buffer may drain at any time */
proctype drain()
{
	do
	:: atomic { buffering[0] -> shows[0] = buffered[0]; buffering[0] = false; printf("@cpu\t0\t(its store becomes visible)\n") }
#if NCPU == 2
	:: atomic { buffering[1] -> shows[1] = buffered[1]; buffering[1] = false; printf("@cpu\t1\t(its store becomes visible)\n") }
#endif
	:: atomic { pbuffering -> mem[0] = pbuffered; pbuffering = false; printf("@poster\t0\t(its store becomes visible)\n") }
	:: cpus_done == NCPU && posters_done == NPOSTER && !buffering[0] && !pbuffering -> break
	od
}

/* A grace period that watches CPU 0. */
proctype grace_period()
{
	byte s;
	atomic { reader_ptr = false; printf("@rcu\t0\tunpublishes the pointer\n") };
	s = eqs;
	do
	:: atomic { (shows[0] & 3) == USER -> printf("@rcu\t0\tsees the CPU in user mode\n") }; break
	:: atomic { eqs != s -> printf("@rcu\t0\tsees that the CPU has been there\n") }; break
	od;
	atomic { freed = true; printf("@rcu\t0\tfrees it\n") }
}

init {
	atomic {
		run cpu(0); run nmi(0);
#if NCPU == 2
		run cpu(1); run nmi(1);
#endif
#if MCS
		run mce(0);
#if NCPU == 2
		run mce(1);
#endif
#endif
		run poster(0);
#if NPOSTER == 2
		run poster(1);
#endif
#if BUFFERED || !BARRIER
		run drain();
#endif
#if RCU
		run grace_period()
#endif
	}
}

#if LIVE
ltl live { <> (posters_done == NPOSTER && cpus_done == NCPU) }
#endif
