// SPDX-License-Identifier: Apache-2.0

package deferral

import (
	"testing"

	"github.com/taskiso/taskiso/model/explore"
)

// The explorer runs the cell's exchanges (cell.go) between every two half
// writes and half reads of a value: two publishers that may die anywhere, and
// the owner. tryPublish and tryTake are one step each: they read the control
// word and exchange it only if it is still equal, and equal words mean equal
// roles, so nothing that happens in between can matter.

type cellWorld struct {
	ctl       uint64
	boxes     [3][2]uint8 // versions of the two halves
	lock      uint8       // publisher+1
	at        [2]cellStep
	version   [2]uint8 // being written
	back      [2]uint8 // box being written
	newest    uint8    // newest version anybody began to write
	published uint8    // newest version whose publication has finished

	reading cellStep
	first   uint8 // half read
	last    uint8 // last value read
	must    uint8 // published when the take began

	bad string
}

type cellStep uint8

const (
	cellRest cellStep = iota
	cellLocked
	cellHalf
	cellWhole
	cellPublished
	cellDead
)

func TestExploreCell(t *testing.T) {
	r := explore.Check(explore.System[cellWorld]{
		Start: cellWorld{ctl: cellStart},
		Next:  nextCell,
		Bad:   func(w cellWorld) string { return w.bad },
		Goal:  func(w cellWorld) bool { return w.at == [2]cellStep{} && w.reading == cellRest && w.lock == 0 },
		Limit: 3_000_000,
	})
	t.Log(r)
	if r.Violation != "" || !r.Complete {
		t.Errorf("exploring the cell: %v", r)
		for _, a := range r.Trace {
			t.Logf("%-12s %s", a.Who, a.What)
		}
	}
}

// asCell is the library's cell over the world's control word. The boxes are
// told apart by their lengths.
func (w *cellWorld) asCell() cell {
	return cell{ctl: &w.ctl, boxes: [3]box{make(box, 0), make(box, 1), make(box, 2)}}
}

func nextCell(w cellWorld, emit func(explore.Action, cellWorld)) {
	do := func(who, what string, f func(*cellWorld)) {
		to := w
		f(&to)
		explore.Ranks(&to.newest, &to.published, &to.last, &to.must, &to.first, &to.version[0], &to.version[1],
			&to.boxes[0][0], &to.boxes[0][1], &to.boxes[1][0], &to.boxes[1][1], &to.boxes[2][0], &to.boxes[2][1])
		emit(explore.Action{Who: who, What: what}, to)
	}
	for i := range w.at {
		publishing(w, i, do)
	}
	taking(w, do)
}

func publishing(w cellWorld, i int, do func(string, string, func(*cellWorld))) {
	who := [2]string{"publisher 0", "publisher 1"}[i]
	me := uint8(i) + 1
	switch w.at[i] {
	case cellRest:
		if w.lock == 0 {
			do(who, "takes the lock", func(w *cellWorld) { w.lock, w.at[i] = me, cellLocked })
		}
	case cellLocked:
		do(who, "writes the first half", func(w *cellWorld) {
			back, err := w.asCell().back()
			if err != nil {
				w.bad = err.Error()
			}
			w.newest, w.version[i], w.back[i] = 200, 200, uint8(len(back))
			w.boxes[w.back[i]][0] = 200
			w.at[i] = cellHalf
		})
	case cellHalf:
		do(who, "writes the second half", func(w *cellWorld) {
			w.boxes[w.back[i]][1] = w.version[i]
			w.at[i] = cellWhole
		})
	case cellWhole:
		do(who, "publishes", func(w *cellWorld) {
			if w.asCell().tryPublish() {
				w.at[i], w.published = cellPublished, w.version[i]
			}
		})
	case cellPublished:
		do(who, "releases the lock", func(w *cellWorld) { w.lock, w.at[i], w.version[i], w.back[i] = 0, cellRest, 0, 0 })
	case cellDead:
		do("peer", "notices the death, releases the lock", func(w *cellWorld) {
			if w.lock == me {
				w.lock = 0
			}
			w.at[i], w.version[i], w.back[i] = cellRest, 0, 0
		})
		return
	}
	do(who, "dies", func(w *cellWorld) { w.at[i] = cellDead })
}

func taking(w cellWorld, do func(string, string, func(*cellWorld))) {
	switch w.reading {
	case cellRest:
		do("owner", "begins to take", func(w *cellWorld) { w.must, w.reading = w.published, cellLocked })
	case cellLocked:
		do("owner", "takes", func(w *cellWorld) {
			if _, again := w.asCell().tryTake(); !again {
				w.reading = cellHalf
			}
		})
	case cellHalf:
		do("owner", "reads the first half", func(w *cellWorld) {
			w.first, w.reading = w.frontHalf(0), cellWhole
		})
	case cellWhole:
		do("owner", "reads the second half", func(w *cellWorld) {
			second := w.frontHalf(1)
			switch {
			case second != w.first:
				w.bad = "torn value"
			case second < w.last:
				w.bad = "older value than before"
			case second < w.must:
				w.bad = "older value than was published before the take"
			}
			w.last, w.first, w.must, w.reading = second, 0, 0, cellRest
		})
	}
}

func (w *cellWorld) frontHalf(half int) uint8 {
	front, ok := w.asCell().front()
	if !ok {
		w.bad = "bad control word"
	}
	return w.boxes[len(front)][half]
}
