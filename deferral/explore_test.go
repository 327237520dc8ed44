// SPDX-License-Identifier: Apache-2.0

package deferral

import (
	"testing"

	"github.com/taskiso/taskiso/model/explore"
)

// The explorer runs the library's own step functions (steps.go), one at a time
// and in every order: an owner that enters, uses shared data, catches up,
// leaves, detaches or dies, for ever; posters that each replace a piece of
// data, post, wait and then free what they replaced; a pinner. Rounds and
// versions are made relative, so the number of operations has no bound.
//
// TestSeededBugs changes steps.go and expects this test to fail.

// world is everything that a step can read or write, and what the properties
// need to know.
type world struct {
	state, done uint64 // the slot's record

	own      owner
	at       step // the owner's operation in progress
	op       step // its first step
	attached bool
	inside   bool // between Enter's return and Exit's call
	dead     bool // died, and nobody has noticed yet

	posters [2]posting
	pin     pinner
	pinAt   step
	acting  bool // the pinned function runs

	bad string
}

// posting is one poster and the data that it replaces.
type posting struct {
	poster
	at      step
	phase   phase
	newest  uint8 // version
	freed   uint8 // all older versions are freed
	held    uint8 // version that the owner uses
	holding bool
	pending bool // marked, and the work not done since
	taken   bool // as pending, and the owner has taken it
	owed    bool // as pending, and the mark found the slot online
}

type phase uint8

const (
	replacing phase = iota
	marking
	waiting
	freeing
)

// base is what done is always shifted to: room for what is older.
const base = 16

type explorer struct {
	bits   []uint64 // of each poster
	pinner bool
	crash  bool
}

func TestExploreProtocol(t *testing.T) {
	for name, x := range map[string]explorer{
		"one poster":              {bits: []uint64{kindBit(0)}},
		"one poster, pinner":      {bits: []uint64{kindBit(0)}, pinner: true},
		"crashing owner, pinner":  {bits: []uint64{kindBit(0)}, crash: true, pinner: true},
		"two posters":             {bits: []uint64{kindBit(0), syncBit}},
		"two posters, same kind":  {bits: []uint64{kindBit(0), kindBit(0)}},
		"two posters, crash":      {bits: []uint64{kindBit(0), syncBit}, crash: true},
		"two posters, all events": {bits: []uint64{kindBit(0), syncBit}, crash: true, pinner: true},
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && x.crash && len(x.bits) > 1 {
				t.Skip("a million states")
			}
			t.Parallel()
			r := explore.Check(x.system())
			t.Log(r)
			if r.Violation == "" && r.Complete {
				return
			}
			t.Errorf("exploring: %v", r)
			for _, a := range r.Trace {
				t.Logf("%-8s %s", a.Who, a.What)
			}
		})
	}
}

func (x explorer) system() explore.System[world] {
	start := world{state: word(detached, base), done: base}
	return explore.System[world]{
		Start: start,
		Next:  x.next,
		Bad:   x.violation,
		Goal: func(w world) bool { // every operation can come to an end
			for _, p := range w.posters {
				if p.phase != replacing {
					return false
				}
			}
			return w.at == finished && !w.inside && w.pinAt == finished && !w.acting
		},
		Limit: 6_000_000,
	}
}

// violation checks what must hold in every state.
func (x explorer) violation(w world) string {
	if w.bad != "" {
		return w.bad
	}
	for i := range x.bits {
		p := &w.posters[i]
		where := w.state
		if p.taken {
			where = w.own.work
		}
		if p.pending && !w.dead && where&p.bits == 0 {
			return "a request is lost"
		}
		if w.inside && p.phase == waiting && !p.pending && w.done <= p.round {
			return "a ticket waits for work that is done"
		}
	}
	if w.acting && (w.inside || w.at == handle || w.at == record) {
		return "the owner is inside while somebody acts for it"
	}
	return ""
}

type act = func(who, what string, f func(w *world, r *slotRecord))

func (x explorer) next(w world, emit func(explore.Action, world)) {
	do := func(who, what string, f func(*world, *slotRecord)) {
		to := w
		r := slotRecord{state: w.state, done: w.done}
		f(&to, &r)
		to.state, to.done = r.state, r.done
		x.normalise(&to)
		emit(explore.Action{Who: who, What: what}, to)
	}
	x.owner(w, do)
	for i := range x.bits {
		x.poster(w, i, do)
	}
	if x.pinner {
		x.pinning(w, do)
	}
}

func (x explorer) owner(w world, do act) {
	begin := func(what string, at step) {
		do("owner", what, func(w *world, _ *slotRecord) {
			w.at, w.op, w.inside = at, at, false
			for i := range w.posters {
				w.posters[i].holding = false
			}
		})
	}
	switch {
	case w.dead:
		do("peer", "notices the death, releases the slot", func(w *world, r *slotRecord) {
			r.takeOver(detached)
			w.dead = false
		})
		x.attach(do)
	case !w.attached:
		x.attach(do)
	case w.at != finished:
		do("owner", stepNames[w.at], x.ownerStep)
	case !w.inside:
		begin("calls Enter", enterRead)
	default:
		begin("calls CatchUp", catchTake)
		begin("calls Exit", exitTry)
		begin("calls Detach", detachTry)
		x.use(w, do)
	}
	// Each death in the middle of a catch-up leaves one more round that nobody
	// recorded. Two in a row are explored; any number of others.
	if x.crash && w.attached && int32(w.state>>roundShift)-base < 3 {
		do("owner", "dies", func(w *world, _ *slotRecord) {
			*w = world{state: w.state, done: w.done, posters: w.posters, pin: w.pin, pinAt: w.pinAt, acting: w.acting, dead: true}
			for i := range w.posters {
				p := &w.posters[i]
				p.holding, p.owed, p.taken = false, false, false
			}
		})
	}
}

func (x explorer) attach(do act) {
	do("owner", "attaches", func(w *world, r *slotRecord) {
		r.takeOver(offline)
		w.own = owner{round: roundOf(r.state, r.done)}
		w.attached, w.dead = true, false
	})
}

func (x explorer) ownerStep(w *world, r *slotRecord) {
	if w.at == handle {
		for i := range x.bits {
			if p := &w.posters[i]; p.taken {
				p.pending, p.owed, p.taken = false, false, false
			}
		}
		w.at = record
		return
	}
	w.at = w.own.do(w.at, r)
	switch w.at {
	case handle:
		for i := range x.bits {
			p := &w.posters[i]
			p.taken = p.pending && w.own.work&p.bits != 0
		}
	case finished:
		x.ownerDone(w)
	}
}

func (x explorer) ownerDone(w *world) {
	w.inside = w.op == enterRead || w.op == catchTake
	w.attached = w.op != detachTry
	if !w.attached {
		w.own = owner{}
	}
	if w.inside {
		return
	}
	for i := range x.bits {
		if w.posters[i].owed {
			w.bad = "the owner left with a request that it owed"
		}
	}
}

// use reads shared data, or uses what was read before.
func (x explorer) use(w world, do act) {
	for i := range x.bits {
		do("owner", "reads and uses the data", func(w *world, _ *slotRecord) {
			p := &w.posters[i]
			if !p.holding {
				p.holding, p.held = true, p.newest
			}
			if p.held < p.freed {
				w.bad = "freed data is used"
			}
		})
	}
}

func (x explorer) poster(w world, i int, do act) {
	who := [2]string{"poster 0", "poster 1"}[i]
	switch w.posters[i].phase {
	case replacing:
		do(who, "replaces the data", func(w *world, _ *slotRecord) {
			w.posters[i].newest = 200
			w.posters[i].poster = poster{bits: x.bits[i]}
			w.posters[i].phase, w.posters[i].at = marking, postBefore
		})
	case marking, waiting:
		do(who, stepNames[w.posters[i].at], func(w *world, r *slotRecord) { x.posterStep(w, &w.posters[i], r) })
	case freeing:
		do(who, "frees the old data", func(w *world, _ *slotRecord) {
			p := &w.posters[i]
			p.freed, p.phase = p.newest, replacing
		})
	}
}

func (x explorer) posterStep(w *world, p *posting, r *slotRecord) {
	was := p.at
	p.at = p.do(was, r)
	if p.at == postAfter {
		p.pending, p.taken, p.owed = true, false, !p.away() && !w.dead
	}
	if p.at != finished {
		return
	}
	switch {
	case p.phase == waiting:
		if was == waitDone && p.pending {
			w.bad = "a round was recorded before its work was done"
		}
		p.phase = freeing
	case p.away(): // as in Domain.mark: the ticket is done
		p.phase = freeing
	default:
		p.phase, p.at = waiting, waitDone
	}
}

func (x explorer) pinning(w world, do act) {
	switch {
	case w.acting:
		do("pinner", stepNames[pinRelease], func(w *world, r *slotRecord) {
			w.pin.do(pinRelease, r)
			w.acting = false
		})
	case w.pinAt == finished:
		do("pinner", "calls RunPinned", func(w *world, _ *slotRecord) { w.pinAt = pinRead })
	default:
		do("pinner", stepNames[w.pinAt], func(w *world, r *slotRecord) {
			w.pinAt = w.pin.do(w.pinAt, r)
			w.acting = w.pin.held
		})
	}
}

var stepNames = map[step]string{
	enterRead: "E1 reads the word", enterPublish: "E2 goes online, takes the work",
	catchTake: "C1 takes the work", handle: "C2 does the work", record: "C3 records the round",
	exitTry: "X1 tries to go offline", detachTry: "D1 tries to give up the slot",
	postBefore: "P1 reads the recorded round", postMark: "P2 marks the word", postAfter: "P3 completes the round",
	waitDone: "W1 looks at the recorded round", waitState: "W2 looks at the state",
	pinRead: "N1 reads the word", pinTake: "N2 pins the slot", pinRelease: "N3 unpins the slot",
}

// normalise brings states that no step can tell apart into one form. Steps add
// 1 to rounds and compare them with done, so all can be shifted together;
// rounds older than base-1 are past for everyone; a word read long ago that
// can never be found again may be any such word; and what is not read again
// is cleared.
func (x explorer) normalise(w *world) {
	for i := range x.bits {
		p := &w.posters[i]
		if !p.holding {
			p.held = p.newest
		}
		explore.Ranks(&p.newest, &p.freed, &p.held)
		p.shift(w.done - base)
	}
	shift := w.done - base
	w.done = base
	w.state -= shift << roundShift
	if w.attached {
		w.own.round -= shift
	}
	w.own.seen = shiftWord(w.own.seen, shift, w.at == enterPublish)
	w.pin.seen = shiftWord(w.pin.seen, shift, w.pinAt == pinTake)
	if w.at == finished {
		w.op = finished
	}
}

func shiftWord(w, shift uint64, used bool) uint64 {
	if !used {
		return 0
	}
	if int32(w>>roundShift)-int32(shift) < base {
		return 0 // rounds never return: the exchange will fail
	}
	return w - shift<<roundShift
}

func (p *posting) shift(shift uint64) {
	old := poster{bits: p.bits}
	past := func(round uint64) uint64 { return uint64(max(int64(round)-int64(shift), base-1)) }
	switch p.at {
	case postBefore:
		p.poster = old
	case postMark: // P1 read at most today's done: that completes the mark as well
		p.poster = old
		p.before = base
	case postAfter:
		round := past(roundOf(p.mark, p.before))
		p.mark = p.mark&(1<<roundShift-1) | round<<roundShift
		p.before = min(round, base)
	case waitDone, waitState:
		round := past(p.round)
		p.poster = old
		p.round = round
	default:
		p.poster = poster{bits: p.bits}
	}
	if p.phase == replacing {
		p.poster.bits = 0
		if p.pending {
			p.poster.bits = old.bits
		}
	}
}
