// SPDX-License-Identifier: Apache-2.0

package explore

import "fmt"

// Protocol is a way to defer the synchronisation of an isolated CPU, as in
// docs/design/05-deferred-synchronisation.md: one isolated CPU, NMI-like
// entries nested on it to any given depth, and patchers. Nothing else is
// bounded: neither patches nor entries nor NMIs.
//
// Memory is sequentially consistent here; store buffers are in model/spin.
type Protocol struct {
	Generation bool // A': synchronise at entry only if something was patched
	Handshake  bool // B: a request and the exit agree on who serves it
	Nesting    int  // NMI, and machine check in an NMI: 0, 1 or 2
	Patchers   int  // 1 or 2, patching independently
	Bug        Bug
}

func (p Protocol) String() string {
	name := "A"
	if p.Generation {
		name = "A'"
	}
	if p.Handshake {
		name += "+B"
	}
	s := fmt.Sprintf("%s, nesting %d, %d patcher(s)", name, p.Nesting, p.Patchers)
	if p.Bug != NoBug {
		s += ", bug: " + string(p.Bug)
	}
	return s
}

// Bug is a mistake seeded into a protocol, to see it found.
type Bug string

// Each bug drops one constraint of docs/design/05.
const (
	NoBug             Bug = ""
	RecordThenSync    Bug = "C8: entry records before it synchronises"
	NMIRecordThenSync Bug = "C8: NMI records before it synchronises"
	NMINoCatchUp      Bug = "C7: NMI trusts that the entry has synchronised"
	NMISetsUser       Bug = "C9: NMI exit always publishes user"
	NMINoPublish      Bug = "C7: NMI from user does not publish"
	PublishLate       Bug = "C4: entry publishes kernel after it synchronised"
	PublishEarly      Bug = "C2: exit publishes user before its last patchable instruction"
	SyncedOutlives    Bug = "C10: the synced mark outlives the stay"
	MutableEntry      Bug = "C1: patchable instruction before the synchronisation"
	GenBeforeText     Bug = "C6: generation moves before the text"
	GenAfterState     Bug = "C6: generation moves after the state was read"
	StateBeforeText   Bug = "C5: state read before the text is written"
	NMILooksKernel    Bug = "C12: NMI from user is published as kernel"
	ExitIgnoresReq    Bug = "C12: exit does not look for a request"
	AckBeforeSync     Bug = "C5: request acknowledged before synchronising"
	NoWait            Bug = "C5: patcher does not wait for the acknowledgement"
	SkipNMIUser       Bug = "C12: patcher takes an NMI from user for user"
)

// What the CPU shows to patchers.
const (
	inUser uint8 = iota
	inKernel
	inNMIUser // an NMI that hit user mode: nothing to interrupt, nothing to defer
)

// Where the task is; NMI-like levels use the same names.
const (
	atRest    uint8 = iota // user mode, or no NMI
	atEntry                // hardware entered the kernel
	atRead                 // state published, generation to be read
	atCompare              // generation read
	atSync                 // to synchronise
	atRecord               // to record
	atWork                 // patchable code, interrupts on
	atLeave                // patchable code, interrupts off
	atForget               // to drop the synced mark
	atExit                 // to publish user
	atRecordFirst
	atPublishLate
	atTail // PublishEarly: patchable code after user was published
)

// Where a patcher is.
const (
	pWrite uint8 = iota
	pGen
	pState
	pIPI
	pWait
	pGenLate
	pDone
	pTextLate
)

type kernel struct {
	mem, done, seen [2]uint8 // text versions, by patcher
	gen, lgen       uint8
	read            [3]uint8 // generation read, by level
	shows           uint8
	req             bool
	synced          bool
	ipi             [2]bool
	at              [3]uint8
	old             [3]uint8
	patcher         [2]uint8
	stale, late     bool
}

// System returns the protocol for Check.
func (p Protocol) System() System[kernel] {
	return System[kernel]{
		Start: kernel{},
		Next:  p.next,
		Bad:   p.bad,
		Goal:  func(s kernel) bool { return s.at == [3]uint8{} && !s.ipi[0] && !s.ipi[1] && s.patcher == [2]uint8{} },
		Limit: 20_000_000,
	}
}

func (p Protocol) bad(s kernel) string {
	switch {
	case s.stale:
		return "stale text executed"
	case s.late:
		return "interrupted in user mode"
	}
	return ""
}

func (p Protocol) normal(s kernel) kernel {
	Ranks(&s.gen, &s.lgen, &s.read[0], &s.read[1], &s.read[2])
	for i := range p.Patchers {
		Ranks(&s.mem[i], &s.done[i], &s.seen[i])
	}
	return s
}

// fresh is a number above all ranks.
const fresh = 200

func (p Protocol) next(s kernel, emit func(Action, kernel)) {
	do := func(who, what string, f func(*kernel)) {
		to := s
		f(&to)
		emit(Action{who, what}, p.normal(to))
	}
	level := 0
	for l := 1; l <= p.Nesting; l++ {
		if s.at[l] != atRest {
			level = l
		}
	}
	if level < p.Nesting {
		do(levels[level+1], "arrives", func(t *kernel) { t.at[level+1] = atEntry })
	}
	if level == 0 {
		p.task(s, do)
	} else {
		p.nmi(s, level, do)
	}
	for i := range p.Patchers {
		p.patch(s, i, do)
	}
}

var levels = [3]string{"cpu", "nmi", "mce"}

type doer = func(who, what string, f func(*kernel))

func (s *kernel) sync() { s.seen = s.mem }

// execute runs patchable code.
func (s *kernel) execute(p Protocol) {
	for i := range p.Patchers {
		s.stale = s.stale || s.seen[i] < s.done[i]
	}
}

// mark records that this stay has synchronised with generation read.
func (s *kernel) mark(p Protocol, level int) {
	if p.Generation {
		s.lgen = s.read[level]
		s.read[level] = s.gen // forgotten: keep the state small
		return
	}
	s.synced = s.synced || level == 0
}

func (p Protocol) task(s kernel, do doer) {
	goTo := func(what string, to uint8, f func(*kernel)) {
		do("cpu", what, func(t *kernel) { t.at[0] = to; f(t) })
	}
	nothing := func(*kernel) {}
	pending := s.ipi[0] || s.ipi[1]
	switch s.at[0] {
	case atRest:
		if pending {
			goTo("is interrupted in user mode", atEntry, func(t *kernel) { t.late = p.Handshake })
		}
		goTo("enters the kernel", atEntry, nothing)
	case atEntry:
		switch p.Bug {
		case MutableEntry:
			goTo("executes a patchable instruction, publishes kernel", atRead, func(t *kernel) { t.execute(p); t.shows = inKernel })
		case PublishLate:
			goTo("synchronises", atPublishLate, func(t *kernel) { t.sync() })
		default:
			goTo("publishes kernel", atRead, func(t *kernel) { t.shows = inKernel })
		}
	case atPublishLate:
		goTo("publishes kernel", atWork, func(t *kernel) { t.shows = inKernel; t.synced = true; t.lgen = t.gen })
	case atRead:
		if !p.Generation {
			goTo("begins to synchronise", p.syncFirst(), nothing)
			return
		}
		goTo("reads the generation", atCompare, func(t *kernel) { t.read[0] = t.gen })
	case atCompare:
		if s.read[0] == s.lgen {
			goTo("finds it unchanged", atWork, nothing)
			return
		}
		goTo("finds it moved", p.syncFirst(), nothing)
	case atSync:
		goTo("synchronises", atRecord, func(t *kernel) { t.sync() })
	case atRecord:
		goTo("records", atWork, func(t *kernel) { t.mark(p, 0) })
	case atRecordFirst:
		goTo("records", atTail, func(t *kernel) { t.mark(p, 0) })
	case atTail:
		if p.Bug == PublishEarly {
			goTo("executes the rest of the exit code", atRest, func(t *kernel) { t.execute(p) })
			return
		}
		goTo("synchronises", atWork, func(t *kernel) { t.sync() })
	case atWork:
		if pending {
			p.interrupt(s, do, atWork)
		}
		goTo("executes patchable code", atWork, func(t *kernel) { t.execute(p) })
		goTo("begins to leave", atLeave, func(t *kernel) { t.execute(p) })
	case atLeave:
		to := atForget
		if p.Bug == SyncedOutlives {
			to = atExit
		}
		goTo("executes its last patchable instruction", to, func(t *kernel) { t.execute(p) })
	case atForget:
		goTo("drops the synced mark", atExit, func(t *kernel) { t.synced = false })
	case atExit:
		p.exit(s, do, pending)
	}
}

func (p Protocol) syncFirst() uint8 {
	if p.Bug == RecordThenSync {
		return atRecordFirst
	}
	return atSync
}

func (p Protocol) exit(s kernel, do doer, pending bool) {
	if p.Handshake && s.req && p.Bug != ExitIgnoresReq {
		if pending {
			p.interrupt(s, do, atLeave) // interrupts on for a moment
		}
		return
	}
	do("cpu", "publishes user", func(t *kernel) {
		t.shows = inUser
		t.at[0] = atRest
		if p.Bug == PublishEarly {
			t.at[0] = atTail
		}
	})
}

// interrupt serves a pending interrupt in the kernel.
func (p Protocol) interrupt(s kernel, do doer, then uint8) {
	for i := range p.Patchers {
		if !s.ipi[i] {
			continue
		}
		do("cpu", "serves the interrupt, synchronises, acknowledges", func(t *kernel) {
			if p.Bug != AckBeforeSync {
				t.sync()
			}
			t.ipi[i], t.req, t.at[0] = false, false, then
		})
	}
}

func (p Protocol) nmi(s kernel, l int, do doer) {
	goTo := func(what string, to uint8, f func(*kernel)) {
		do(levels[l], what, func(t *kernel) { t.at[l] = to; f(t) })
	}
	nothing := func(*kernel) {}
	switch s.at[l] {
	case atEntry:
		goTo("publishes, unless the CPU is in the kernel", atRead, func(t *kernel) { p.nmiPublish(t, l) })
	case atRead:
		switch {
		case p.Bug == NMINoCatchUp:
			goTo("does not catch up", atWork, nothing)
		case p.Generation:
			goTo("reads the generation", atCompare, func(t *kernel) { t.read[l] = t.gen })
		case s.synced:
			goTo("finds the synced mark", atWork, nothing)
		default:
			goTo("synchronises", atWork, func(t *kernel) { t.sync() })
		}
	case atCompare:
		switch {
		case s.read[l] == s.lgen:
			goTo("finds it unchanged", atWork, nothing)
		case p.Bug == NMIRecordThenSync:
			goTo("records", atRecordFirst, func(t *kernel) { t.mark(p, l) })
		default:
			goTo("synchronises", atRecord, func(t *kernel) { t.sync() })
		}
	case atRecord:
		goTo("records", atWork, func(t *kernel) { t.mark(p, l) })
	case atRecordFirst:
		goTo("synchronises", atWork, func(t *kernel) { t.sync() })
	case atWork:
		goTo("executes patchable code", atExit, func(t *kernel) { t.execute(p) })
	case atExit:
		goTo("restores what it found", atRest, func(t *kernel) {
			if t.old[l] == inUser || p.Bug == NMISetsUser {
				t.shows = inUser
			}
			t.old[l], t.read[l] = 0, t.gen
		})
	}
}

func (p Protocol) nmiPublish(t *kernel, l int) {
	t.old[l] = t.shows
	if t.shows != inUser || p.Bug == NMINoPublish {
		return
	}
	t.shows = inKernel
	if p.Handshake && p.Bug != NMILooksKernel {
		t.shows = inNMIUser
	}
}

func (p Protocol) patch(s kernel, i int, do doer) {
	who := fmt.Sprintf("patcher %d", i)
	goTo := func(what string, to uint8, f func(*kernel)) {
		do(who, what, func(t *kernel) { t.patcher[i] = to; f(t) })
	}
	nothing := func(*kernel) {}
	writeText := func(t *kernel) { t.mem[i] = fresh }
	moveGen := func(t *kernel) { t.gen = fresh }
	switch s.patcher[i] {
	case pWrite:
		switch {
		case p.Bug == StateBeforeText && s.shows == inUser:
			goTo("reads the state: user, defers", pTextLate, nothing)
		case p.Bug == StateBeforeText:
		case p.Bug == GenBeforeText:
			goTo("moves the generation", pGen, moveGen)
		default:
			goTo("writes the text", pGen, writeText)
		}
	case pTextLate:
		goTo("writes the text, moves the generation", pDone, func(t *kernel) { writeText(t); moveGen(t) })
	case pGen:
		switch {
		case p.Bug == GenBeforeText:
			goTo("writes the text", pState, writeText)
		case p.Bug == GenAfterState || !p.Generation:
			goTo("passes its barrier", pState, nothing)
		default:
			goTo("moves the generation", pState, moveGen)
		}
	case pState:
		p.decide(s, goTo)
	case pIPI:
		goTo("sends the interrupt", pWait, func(t *kernel) { t.ipi[i] = true })
	case pWait:
		if !s.ipi[i] || p.Bug == NoWait {
			goTo("goes on", pDone, nothing)
		}
	case pGenLate:
		goTo("moves the generation", pDone, moveGen)
	case pDone:
		goTo("takes the synchronisation as done", pWrite, func(t *kernel) { t.done[i] = t.mem[i] })
	}
}

// decide reads the state and defers or interrupts.
func (p Protocol) decide(s kernel, goTo func(string, uint8, func(*kernel))) {
	nothing := func(*kernel) {}
	deferred := pDone
	if p.Bug == GenAfterState {
		deferred = pGenLate
	}
	switch {
	case s.shows == inUser, s.shows == inNMIUser && p.Bug == SkipNMIUser:
		goTo("reads the state: user, defers", deferred, nothing)
	case s.shows == inNMIUser, p.Handshake && s.req: // short: look again
	case p.Handshake:
		goTo("requests the CPU to stay in the kernel", pIPI, func(t *kernel) { t.req = true })
	default:
		goTo("reads the state: kernel", pIPI, nothing)
	}
}
