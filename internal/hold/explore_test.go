// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/hold/operation"
	"github.com/taskiso/taskiso/model/explore"
)

// The explorer runs the keeper and its tracers as they are, against a kernel that is none (world_test.go),
// one step at a time and in every order. What may happen to those who are held is bounded; what must hold is
// checked after every step, and from every state what comes if nobody does anything more.

// move is one step of a world.
type move struct {
	who, what string
	do        func(w *world)
}

// setting is what an exploration begins with.
type setting struct {
	workers  int
	filter   bool
	disturbs bool // threads also move while the keeper is in the middle of a step
	budget   budget
	stages   stageTable
	tracers  tracerTable
	used     map[use]bool // lines of the tables, and what has none
	again    bool         // it is only repeated how a state was reached
}

// start makes a world whose machines have the tables of the setting.
func (s *setting) start() *world {
	w := newWorld(s.workers, s.filter, s.budget)
	w.k.find = func(in stage, on happening) (transition[stage, happening, deed], bool) {
		line, listed := s.stages.find(in, on)
		s.note(string(in), string(on), listed)
		return line, listed
	}
	w.tracerLines = func(in tracerState, on tracerEvent) (transition[tracerState, tracerEvent, tracerAction], bool) {
		line, listed := s.tracers.find(in, on)
		s.note(string(in), string(on), listed)
		return line, listed
	}
	return w
}

// use is an event in a state, and whether it has a line.
type use struct {
	in, on string
	listed bool
}

func (s *setting) note(in, on string, listed bool) {
	if !s.again {
		s.used[use{in, on, listed}] = true
	}
}

// route is how a state is reached.
type route struct {
	before *route
	move   move
}

func (p *route) walk(s *setting) *world {
	var moves []move
	for at := p; at.before != nil; at = at.before {
		moves = append(moves, at.move)
	}
	w := s.start()
	s.again = true
	for _, m := range slices.Backward(moves) {
		m.do(w)
	}
	s.again = false
	return w
}

// explore visits every state.
func (s *setting) explore(limit int) explore.Result {
	paths := map[string]*route{}
	start := s.start().key()
	paths[start] = &route{}
	return explore.Check(explore.System[string]{
		Start: start,
		Next: func(key string, emit func(explore.Action, string)) {
			at := paths[key]
			for _, m := range at.walk(s).moves(s.disturbs) {
				w := at.walk(s)
				m.do(w)
				to := w.key()
				if paths[to] == nil {
					paths[to] = &route{at, m}
				}
				emit(explore.Action{Who: m.who, What: m.what}, to)
			}
			emit(explore.Action{Who: "nobody", What: "does anything"}, key)
		},
		Bad: func(key string) string {
			w := paths[key].walk(s)
			if w.bad == "" {
				w.rest()
			}
			return w.bad
		},
		Limit: limit,
	})
}

// moves are all steps that are possible.
func (w *world) moves(disturbs bool) []move {
	list := []move{{"keeper", [...]string{"looks at the clock and at its threads", "reads what came", "does what was ordered"}[w.phase], (*world).turn}}
	for i, t := range w.threads {
		list = append(list, t.moves(i)...)
	}
	for i, o := range w.tracers {
		if !o.began && o.of.tracer != nil && o.of.tracer != o { // it waits for the one before it
			continue
		}
		list = append(list, move{fmt.Sprintf("tracer of %d", o.of.tid), "does its next step", func(w *world) { w.tracers[i].step() }})
	}
	for i, x := range w.watched {
		if w.hasLeft(x) {
			list = append(list, move{"watcher", "sees the call end", func(w *world) { w.callEnds(i) }})
		}
	}
	list = append(list, w.orders()...)
	if disturbs {
		list = append(list, w.disturbances()...)
	}
	return list
}

func (w *world) hasLeft(x watched) bool {
	switch x.of.at {
	case atHook, isLate, goingOn, inOp, endStop:
		return w.now-x.since >= running
	}
	return true
}

func (w *world) callEnds(i int) {
	x := w.watched[i]
	w.watched = slices.Delete(w.watched, i, i+1)
	x.ended()
}

// spend offers a step for as long as the budget has it.
func spend(list []move, have int, who, what string, pay func(*budget), do func(*world)) []move {
	if have == 0 {
		return list
	}
	return append(list, move{who, what, func(w *world) { pay(&w.left); do(w) }})
}

func (w *world) orders() []move {
	var list []move
	if w.phase == obeying && !w.ending {
		list = spend(list, w.left.windows, "the isolated task", "leaves, or enters", func(b *budget) { b.windows-- }, func(w *world) {
			isolated := !*w.k.isolated
			w.k.isolated = &isolated
			w.k.step()
			w.checkKeeper()
		})
		list = spend(list, w.left.hands, "somebody", "releases all", func(b *budget) { b.hands-- }, func(w *world) { w.k.releaseByHand(All); w.checkKeeper() })
		list = spend(list, w.left.ends, "somebody", "ends the hold", func(b *budget) { b.ends-- }, func(w *world) { w.ending = true; w.phase = stepping; w.k.setMode(open) })
	}
	if !w.full {
		list = spend(list, w.left.losses, "the ring buffer", "is full", func(b *budget) { b.losses-- }, func(w *world) { w.full = true })
	}
	list = spend(list, w.left.ticks, "time", "passes", func(b *budget) { b.ticks-- }, func(w *world) { w.now += 1100 * time.Millisecond })
	list = spend(list, w.left.longs, "time", "passes, much", func(b *budget) { b.longs-- }, func(w *world) { w.now += 11 * time.Second })
	return list
}

// disturbances are steps of the keeper in the middle of which a thread does something: from there on as much
// as it can, or dies.
func (w *world) disturbances() []move {
	var list []move
	if w.phase == obeying {
		return nil
	}
	for n := 1; n <= 6; n++ {
		for i, t := range w.threads {
			if t.canRun() {
				list = append(list, move{"keeper", fmt.Sprintf("goes on; before its look %d thread %d runs", n, t.tid), func(w *world) { w.disturbed(n, w.threads[i].runOn) }})
			}
			if t.at == isLate || t.at == goingOn {
				list = append(list, move{"keeper", fmt.Sprintf("goes on; before its look %d thread %d takes a step", n, t.tid), func(w *world) { w.disturbed(n, w.threads[i].run) }})
			}
			if t.at != isDead && w.left.kills > 0 {
				list = append(list, move{"keeper", fmt.Sprintf("goes on; before its look %d thread %d runs and ends", n, t.tid), func(w *world) {
					w.left.kills--
					w.disturbed(n, func() { w.threads[i].runOn(); w.threads[i].die() })
				}})
			}
		}
	}
	return list
}

func (w *world) disturbed(n int, f func()) {
	w.during, w.disturbs = n, f
	w.turn()
	w.during, w.disturbs = 0, nil
}

func (t *worker) runOn() {
	for range 5 {
		if t.at == isDone || !t.canRun() {
			return
		}
		t.run()
	}
}

// moves are the steps of a thread, and of those who do something to it.
func (t *worker) moves(i int) []move {
	who := fmt.Sprintf("thread %d", t.tid)
	var list []move
	if t.canRun() {
		list = append(list, move{who, "goes on from " + string(t.at), func(w *world) { w.threads[i].run() }})
	}
	b := &t.w.left
	if t.at == inHandler {
		list = append(list, move{who, "does something else for good", func(w *world) { w.threads[i].at = elsewhere }})
		list = append(list, move{who, "ends in its handler", func(w *world) { w.threads[i].die() }})
	}
	if t.at == atHook && t.known && t.answer == wait && t.tracer == nil {
		list = spend(list, b.lates, who, "finds no answer in time", func(b *budget) { b.lates-- }, func(w *world) { w.threads[i].at = isLate })
	}
	// It may have been seized just now, or cannot be stopped by a signal.
	if t.at == atHook && t.known && t.answer == wait {
		list = spend(list, b.pairs, who, "leaves by the pair", func(b *budget) { b.pairs-- }, func(w *world) { w.threads[i].leave() })
	}
	if t.at == elsewhere {
		list = spend(list, b.visits, who, "wants another operation", func(b *budget) { b.visits-- }, func(w *world) { w.threads[i].again() })
	}
	if t.at == isDead || t.at == isDone {
		return list
	}
	list = spend(list, b.kills, who, "is killed", func(b *budget) { b.kills-- }, func(w *world) { w.threads[i].die() })
	if !t.signal && t.at != inHandler {
		list = spend(list, b.signals, who, "gets a signal", func(b *budget) { b.signals-- }, func(w *world) { w.threads[i].signal = true })
	}
	if !t.stop && t.at != groupStop {
		list = spend(list, b.stops, who, "is sent SIGSTOP", func(b *budget) { b.stops-- }, func(w *world) { w.threads[i].getStop() })
	}
	if !t.refuse && t.tracer == nil {
		list = spend(list, b.refusals, who, "is traced by a debugger", func(b *budget) { b.refusals-- }, func(w *world) { w.threads[i].refuse = true })
	}
	if t.at == groupStop || t.at == listening || t.tracer != nil && !t.notify {
		list = spend(list, b.conts, who, "is sent SIGCONT", func(b *budget) { b.conts-- }, func(w *world) { w.threads[i].getCont() })
	}
	return list
}

// again begins another operation than the one that the thread gave up by its handler.
func (t *worker) again() { t.at, t.other = atUser, true }

func (t *worker) getStop() {
	if t.at == listening || t.at == awoken {
		t.stops(groupStop)
		return
	}
	t.stop = true
}

// getCont is prepare_signal() of kernel/signal.c: SIGCONT takes stops back, and is notified of to a tracer.
func (t *worker) getCont() {
	t.stop = false
	switch {
	case t.at == listening, t.at == groupStop && t.tracer != nil:
		t.stops(trapped)
	case t.at == groupStop:
		t.at = atUser
	case t.tracer != nil:
		t.notify = true
	}
}

// leave goes back to user mode by SIGSTOP and SIGCONT.
func (t *worker) leave() {
	t.at, t.notify = atUser, t.tracer != nil
}

// rest lets everything run that can, with nobody who does anything more but continue what he stopped, and checks
// that all comes to its end.
func (w *world) rest() {
	for round := 0; round < 40 && !w.isAtRest(); round++ {
		w.now += 300 * time.Millisecond
		for _, t := range w.threads {
			t.restOn(round)
		}
		w.serve()
		if round == 4 {
			w.checkSignals()
		}
	}
	w.now += 30 * time.Second
	for range 6 {
		w.serve()
	}
	w.checkRest()
}

// checkSignals is what must hold once each tracer has looked for signals, and long before an operation has waited for as long as it may.
func (w *world) checkSignals() {
	for _, t := range w.threads {
		if (t.signal || t.stop) && (t.at == trapped || t.at == listening) {
			w.fail("a signal waits for the end of a hold")
		}
	}
}

// isAtRest reports whether nothing goes on any more; what was given up is looked at after that.
func (w *world) isAtRest() bool {
	return len(w.ring) == 0 && len(w.tracers) == 0 && len(w.k.held) == 0 && len(w.k.reports.list) == 0 && len(w.reports) == 0 &&
		!slices.ContainsFunc(w.threads, func(t *worker) bool { return t.at != isDone && t.at != isDead && t.at != elsewhere })
}

// restOn lets a thread do what it has to. What has found no answer for long comes to the hook once more.
func (t *worker) restOn(round int) {
	if t.at == groupStop && t.tracer == nil {
		t.at = atUser
	}
	for range 3 {
		if t.at != isDone && t.canRun() {
			t.run()
		}
	}
	if t.at == atHook && t.known && t.answer == wait && t.tracer == nil && round%10 == 9 {
		t.at = atUser
	}
}

// serve lets each tracer and the keeper do a turn.
func (w *world) serve() {
	for _, o := range slices.Clone(w.tracers) {
		if o.began || o.of.tracer == nil || o.of.tracer == o {
			o.step()
		}
	}
	for i := len(w.watched) - 1; i >= 0; i-- {
		if w.hasLeft(w.watched[i]) {
			w.callEnds(i)
		}
	}
	for range 3 {
		w.turn()
	}
}

// checkRest is what must hold in the end.
func (w *world) checkRest() {
	alive := 0
	for _, t := range w.threads {
		switch t.at {
		case isDone, elsewhere:
			alive++
		case isDead:
			if t.known && w.given[t.since] {
				w.fail("the programs know of a thread that has ended")
			}
		default:
			w.fail("a thread is left at %q", t.at)
		}
		for n := uint64(1); n <= t.visits; n++ {
			w.checkRecord(t, n)
		}
	}
	switch {
	case len(w.tracers) > 0 || w.k.tracers != 0:
		w.fail("a tracer is left")
	case len(w.k.held) > 0 && !w.ending:
		w.fail("an operation is left %s", w.k.held[0].stage)
	case len(w.k.given) > alive && !w.ending:
		w.fail("an operation is kept that a thread has given up which ended")
	}
}

// checkRecord checks that a visit of a thread, of which it came to know, has a record.
func (w *world) checkRecord(t *worker, n uint64) {
	for since := range w.records {
		if since>>40 == uint64(t.tid) && since>>2&(1<<10-1) == n {
			return
		}
	}
	for since := range w.unread {
		if since>>40 == uint64(t.tid) && since>>2&(1<<10-1) == n {
			return
		}
	}
	w.fail("operation %d of thread %d has no record", n, t.tid)
}

func settings() map[string]*setting {
	list := map[string]*setting{
		"windows":       {workers: 1, budget: budget{windows: 3, signals: 1}},
		"signals":       {workers: 1, budget: budget{signals: 1, stops: 1, conts: 1, hands: 1}},
		"continued":     {workers: 1, budget: budget{signals: 1, conts: 1, pairs: 1, hands: 1}},
		"deaths":        {workers: 2, budget: budget{kills: 2}},
		"late":          {workers: 1, budget: budget{lates: 1, pairs: 1, windows: 1, hands: 1, kills: 1}},
		"times":         {workers: 1, budget: budget{ticks: 2, signals: 1, hands: 1}},
		"absence":       {workers: 1, budget: budget{longs: 1, signals: 1, hands: 1, lates: 1}},
		"again":         {workers: 1, budget: budget{hands: 2, visits: 1}},
		"others":        {workers: 1, budget: budget{signals: 2, visits: 2, windows: 1}},
		"filters":       {workers: 1, filter: true, budget: budget{windows: 2, kills: 1, signals: 1, stops: 1}},
		"refusals":      {workers: 1, budget: budget{refusals: 1, windows: 1, kills: 1, lates: 1, longs: 1}},
		"losses":        {workers: 1, budget: budget{losses: 1, lates: 1, hands: 1, longs: 1}},
		"late losses":   {workers: 1, budget: budget{losses: 1, lates: 1, hands: 1, kills: 1}},
		"more losses":   {workers: 1, budget: budget{losses: 1, lates: 1, hands: 1, visits: 1}},
		"the end":       {workers: 1, budget: budget{ends: 1, kills: 1, signals: 1, windows: 1}},
		"in between":    {workers: 1, disturbs: true, budget: budget{windows: 2, kills: 1, lates: 1}},
		"two at a time": {workers: 2, budget: budget{windows: 1}},
	}
	for _, s := range list {
		s.stages, s.tracers, s.used = stageLines, tracerLines, make(map[use]bool)
	}
	return list
}

const mostStates = 300_000

// What must hold does in every state that is reached.
func TestExplore(t *testing.T) {
	used := make(map[use]bool)
	for _, name := range slices.Sorted(maps.Keys(settings())) {
		t.Run(name, func(t *testing.T) {
			s := settings()[name]
			s.used = used
			r := s.explore(mostStates)
			t.Log(r)
			if r.Violation == "" && r.Complete {
				return
			}
			t.Errorf("exploring: %v", r)
			for _, a := range r.Trace {
				t.Logf("%-14s %s", a.Who, a.What)
			}
		})
	}
	checkUse(t, used)
}

// checkUse checks that the explorations met every line of the tables, and nothing that has none.
func checkUse(t *testing.T, used map[use]bool) {
	for u := range used {
		if !u.listed {
			t.Errorf("in state %q: event %q is in no line", u.in, u.on)
		}
	}
	for _, line := range stageLines {
		if !used[use{string(line.in), string(line.on), true}] {
			t.Errorf("no exploration has, in state %q, event %q", line.in, line.on)
		}
	}
	for _, line := range tracerLines {
		if line.on != sawError && !isOnlyOfKernels(line.in, line.on) && !used[use{string(line.in), string(line.on), true}] {
			t.Errorf("no exploration has, in state %q, event %q", line.in, line.on)
		}
	}
}

// isOnlyOfKernels names what ptrace(2) does not exclude, and the world does not do: a stop at a system call of a
// thread that was not let go to one, an interruption on the way to one, and a signal that does nothing.
func isOnlyOfKernels(in tracerState, on tracerEvent) bool {
	return on == sawNothing || on == sawOtherCall && in != called || on == sawStopToGo && (in == calling || in == called)
}

// seededFault is one line of a table that is wrong, and the setting in which that shows.
type seededFault struct {
	name, setting, found string
	stage                *transition[stage, happening, deed]
	tracer               *transition[tracerState, tracerEvent, tracerAction]
}

type (
	stageLine  = transition[stage, happening, deed]
	tracerLine = transition[tracerState, tracerEvent, tracerAction]
)

var seededFaults = []seededFault{
	// The last faults of hold that were found otherwise: 248a278, and those that CHANGELOG.md names.
	{
		name: "let go, and counted as at work only once it has stopped", setting: "windows", found: "a window does not wait",
		stage: &stageLine{isBlocked, onRelease, isBlocked, []deed{doTell, doResume}},
	},
	{
		name: "what the window let go is forgotten when it closes", setting: "windows", found: "longer than it may|two records",
		stage: &stageLine{isTold, onTakenBack, isTold, nil},
	},
	{
		name: "a stop of the user is taken back", setting: "signals", found: "a stop of the user is taken back",
		tracer: &tracerLine{stopped, sawSignal, stopped, []tracerAction{actDrop}},
	},
	{
		name: "given-up operations are kept", setting: "deaths", found: "know of a thread that has ended|kept",
		stage: &stageLine{isAbandoned, onEnd, isAbandoned, nil},
	},
	// Others.
	{
		name: "a thread is left stopped: its tracer is not released", setting: "windows", found: "is left",
		stage: &stageLine{isBlocked, onRelease, isTold, []deed{doTell}},
	},
	{
		name: "a thread is left stopped: its tracer does not wake it", setting: "windows", found: "is left",
		tracer: &tracerLine{stopped, sawOrder, stopped, nil},
	},
	{
		name: "a thread that was woken for a signal sleeps on", setting: "signals", found: "a signal waits",
		tracer: &tracerLine{waking, sawStop, waking, nil},
	},
	{
		name: "a thread is left at the end of its call", setting: "filters", found: "is left",
		tracer: &tracerLine{called, sawOtherCall, called, nil},
	},
	{
		name: "one answer, a record at each look", setting: "windows", found: "have a record",
		stage: &stageLine{isTold, onTaken, isTold, []deed{doHeld, doWatch}},
	},
	{
		name: "an operation that goes on by itself keeps its account", setting: "late", found: "record|left|it may",
		stage: &stageLine{isBlocked, onLeave, isBlocked, []deed{doResume, doNotHeld}},
	},
	{
		name: "a second record when it went on before the answer", setting: "late", found: "two records",
		stage: &stageLine{isWorking, onLeave, isOver, []deed{doNotHeld}},
	},
	{
		name: "an answer is left to an operation that was given up", setting: "absence", found: "that was told to go on|given up",
		stage: &stageLine{isTold, onAbsence, isAbandoned, []deed{doHeld}},
	},
	{
		name: "a window does not wait for what is at work", setting: "windows", found: "a window does not wait",
		stage: &stageLine{isTold, onTaken, isOver, []deed{doHeld}},
	},
	{
		name: "a call that has ended is at work for ever", setting: "windows", found: "left working",
		stage: &stageLine{isWorking, onCallEnd, isWorking, nil},
	},
	{
		name: "who cannot be traced gets no answer", setting: "refusals", found: "left|longer than it may|two records",
		stage: &stageLine{isBlocked, onRefusal, isRefused, []deed{doNotHeld}},
	},
	{
		name: "a signal for a thread that is being stopped is dropped", setting: "signals", found: "signal is dropped|stop of the user",
		tracer: &tracerLine{seized, sawSignal, seized, []tracerAction{actDrop}},
	},
	{
		name: "a thread that stops for its tracer because of SIGCONT sleeps on when it gets a signal", setting: "continued", found: "a signal waits",
		tracer: &tracerLine{seized, sawStop, seized, nil},
	},
}

// with returns the table with a line in place of its own for that state and event.
func with[S, E, A comparable](t table[S, E, A], line *transition[S, E, A]) table[S, E, A] {
	if line == nil {
		return t
	}
	t = slices.Clone(t)
	i := slices.IndexFunc(t, func(l transition[S, E, A]) bool { return l.in == line.in && l.on == line.on })
	t[i] = *line
	return t
}

// Each fault is found by an exploration that the true tables pass.
func TestExploreFindsSeededFaults(t *testing.T) {
	for _, f := range seededFaults {
		t.Run(f.name, func(t *testing.T) {
			s := settings()[f.setting]
			s.stages, s.tracers = with(stageLines, f.stage), with(tracerLines, f.tracer)
			r := s.explore(mostStates)
			t.Log(r)
			if r.Violation == "" || !regexp.MustCompile(f.found).MatchString(r.Violation) {
				t.Errorf("found %q, want %q", r.Violation, f.found)
			}
		})
	}
}

// Of operations that were given up one is known for each thread, and none of a thread that has ended, however many there
// were.
func TestGivenUpOperationsAreBounded(t *testing.T) {
	const threads, rounds = 50, 20
	w := newWorld(threads, false, budget{})
	w.tracerLines = tracerLines.find
	for range rounds {
		for _, thread := range w.threads {
			thread.known, thread.at = false, atUser // it comes with another operation than that which it was stopped at
			thread.run()
		}
		for range 3 {
			w.turn()
		}
		if n := len(w.k.given); n > threads {
			t.Fatalf("%d operations of %d threads", n, threads)
		}
	}
	if n := w.k.counts[operation.Held]; n != threads*(rounds-1) {
		t.Errorf("%d operations were given up, want %d", n, threads*(rounds-1))
	}
	for _, thread := range w.threads {
		thread.die()
	}
	for range 5 {
		w.now += sweeping
		w.serve()
	}
	if len(w.k.given) > 0 || len(w.k.held) > 0 || w.k.tracers > 0 {
		t.Errorf("of threads that have ended %d operations are given up, %d held and %d traced", len(w.k.given), len(w.k.held), w.k.tracers)
	}
	if w.bad != "" {
		t.Error(w.bad)
	}
}

// A table has one line for a state and an event, and no state that nothing leads to.
func TestTablesAreDeterministic(t *testing.T) {
	checkTable(t, stageLines, isBlocked)
	checkTable(t, tracerLines, free)
}

func checkTable[S, E, A comparable](t *testing.T, lines table[S, E, A], start S) {
	t.Helper()
	reached := map[S]bool{start: true}
	for i, line := range lines {
		if j := slices.IndexFunc(lines, func(l transition[S, E, A]) bool { return l.in == line.in && l.on == line.on }); j != i {
			t.Errorf("lines %d and %d are both for %v, %v", j, i, line.in, line.on)
		}
		if line.to != line.in {
			reached[line.to] = true
		}
	}
	for _, line := range lines {
		if !reached[line.in] {
			t.Errorf("nothing leads to %v", line.in)
		}
	}
}

// docs/design/06-hold.md has both tables as they are. With UPDATE=1 they are written there.
func TestTablesAreThoseOfTheDesign(t *testing.T) {
	const name = "../../docs/design/06-hold.md"
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	want := string(text)
	want = between(t, want, "<!-- operation: made by TestTablesAreThoseOfTheDesign -->\n", "<!-- end -->", rows(stageLines))
	want = between(t, want, "<!-- tracer: made by TestTablesAreThoseOfTheDesign -->\n", "<!-- end -->", rows(tracerLines))
	if want == string(text) {
		return
	}
	if os.Getenv("UPDATE") == "" {
		t.Fatalf("%s has other tables than the code: UPDATE=1 go test -run %s ./internal/hold", name, t.Name())
	}
	if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

func between(t *testing.T, text, from, to, put string) string {
	t.Helper()
	before, rest, ok := strings.Cut(text, from)
	_, after, ends := strings.Cut(rest, to)
	if !ok || !ends {
		t.Fatalf("no %q, with %q after it", from, to)
	}
	return before + from + put + to + after
}

func rows[S, E, A ~string](lines table[S, E, A]) string {
	var b strings.Builder
	b.WriteString("\n| state | event | next | action |\n|---|---|---|---|\n")
	for _, line := range lines {
		var actions []string
		for _, a := range line.do {
			actions = append(actions, string(a))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", line.in, line.on, line.to, strings.Join(actions, "; "))
	}
	return b.String() + "\n"
}
