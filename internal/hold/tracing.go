// SPDX-License-Identifier: Apache-2.0

package hold

// tracerState is where one thread of the operating system is with the thread that it stops.
type tracerState string

// States of a tracer. The last four are how it and its thread part: it is gone then.
const (
	free    tracerState = "free"    // not seized yet
	seized  tracerState = "seized"  // it runs, and stops on its way out of the call
	halting tracerState = "halting" // it was shown the signal of the hook, goes on without it, and stops next
	stopped tracerState = "stopped" // it sleeps there, and takes part when its process is stopped and continued
	waking  tracerState = "waking"  // it was interrupted in its sleep
	calling tracerState = "calling" // it goes on to its call, past its seccomp filters
	called  tracerState = "called"  // it is in that call

	freed   tracerState = "gone: freed"   // as was ordered
	left    tracerState = "gone: left"    // to handle a signal, or because it could not be stopped; it may come back
	died    tracerState = "gone: died"    // it ended
	refused tracerState = "gone: refused" // it cannot be traced
)

// tracerEvent is what a tracer is ordered, or sees when it looks at its thread.
type tracerEvent string

// Events of a tracer.
const (
	sawSeized     tracerEvent = "seizing succeeded"
	sawNoThread   tracerEvent = "there is no such thread"
	sawRefusal    tracerEvent = "seizing was refused"
	sawStop       tracerEvent = "it stopped"
	sawStopToGo   tracerEvent = "it stopped, and may go on"
	sawHookSignal tracerEvent = "it is about to handle the signal of the hook"
	sawSignal     tracerEvent = "it is about to handle a signal, or stopped by one"
	sawNothing    tracerEvent = "it is about to handle a signal that does nothing"
	sawCall       tracerEvent = "it begins its call"
	sawOtherCall  tracerEvent = "it is at another system call, or at the end of one"
	sawEnd        tracerEvent = "it ended"
	sawOrder      tracerEvent = "it may go on"
	sawPending    tracerEvent = "a signal for it is pending"
	sawNoFilter   tracerEvent = "its calls pass no filter"
	sawError      tracerEvent = "an error"
)

// tracerAction is what a tracer does to its thread.
type tracerAction string

// Actions of a tracer.
const (
	// It may have waited for another thread's load, and is not to see that this ended.
	actRemake tracerAction = "have it make its call again"
	actListen tracerAction = "let it sleep"
	actWake   tracerAction = "wake it"
	actDrop   tracerAction = "drop the signal"
	actGoOn   tracerAction = "let it go on"
	actDetach tracerAction = "detach"
	actPass   tracerAction = "let it call past its filters"
	actToCall tracerAction = "let it go on to the end of the call"
)

type tracerTable = table[tracerState, tracerEvent, tracerAction]

// tracerLines is all that a tracer does. A tracer that is gone ends its thread, with which the kernel lets
// go what it traced: an order to one that is still seized does nothing else.
var tracerLines = tracerTable{
	{free, sawSeized, seized, nil},
	{free, sawNoThread, died, nil},
	{free, sawRefusal, refused, nil},

	{seized, sawHookSignal, halting, []tracerAction{actDrop}},
	// Who sends SIGCONT has a thread that is seized stop for its tracer, wherever it is; so does the pair of the hook.
	{seized, sawStop, stopped, []tracerAction{actRemake, actListen}},
	{seized, sawStopToGo, calling, []tracerAction{actRemake, actPass}},
	{seized, sawSignal, left, []tracerAction{actDetach}},
	{seized, sawNothing, seized, []tracerAction{actRemake, actGoOn}}, // without a tracer, it would not interrupt a wait
	{seized, sawOtherCall, left, []tracerAction{actDetach}},
	{seized, sawOrder, freed, nil},
	{seized, sawEnd, died, nil},
	{seized, sawError, left, nil},

	// An order that comes now has to wait for the stop: left alone here, it would make its call again past its filters' agent.
	{halting, sawStop, stopped, []tracerAction{actRemake, actListen}},
	{halting, sawStopToGo, calling, []tracerAction{actRemake, actPass}},
	{halting, sawSignal, left, []tracerAction{actDetach}},
	{halting, sawOtherCall, left, []tracerAction{actDetach}},
	{halting, sawOrder, halting, nil},
	{halting, sawEnd, died, nil},
	{halting, sawError, left, nil},

	{stopped, sawStop, stopped, []tracerAction{actListen}},
	{stopped, sawStopToGo, calling, []tracerAction{actPass}},
	{stopped, sawSignal, left, []tracerAction{actDetach}},
	{stopped, sawOtherCall, left, []tracerAction{actDetach}},
	{stopped, sawOrder, waking, []tracerAction{actWake}},
	{stopped, sawPending, waking, []tracerAction{actWake}},
	{stopped, sawEnd, died, nil},
	{stopped, sawError, left, nil},

	{waking, sawStop, left, []tracerAction{actDetach}}, // to handle its signal
	{waking, sawStopToGo, calling, []tracerAction{actPass}},
	{waking, sawSignal, left, []tracerAction{actDetach}},
	{waking, sawOtherCall, left, []tracerAction{actDetach}},
	{waking, sawOrder, waking, nil},
	{waking, sawEnd, died, nil},
	{waking, sawError, left, nil},

	{calling, sawNoFilter, freed, []tracerAction{actDetach}},
	{calling, sawCall, called, []tracerAction{actToCall}},
	{calling, sawOtherCall, freed, []tracerAction{actDetach}},
	{calling, sawStopToGo, freed, []tracerAction{actDetach}},
	{calling, sawSignal, freed, []tracerAction{actDetach}},
	{calling, sawNothing, calling, []tracerAction{actToCall}},
	{calling, sawOrder, calling, nil},
	{calling, sawEnd, died, nil},
	{calling, sawError, left, nil},

	{called, sawOtherCall, freed, []tracerAction{actDetach}},
	{called, sawStopToGo, freed, []tracerAction{actDetach}},
	{called, sawSignal, freed, []tracerAction{actDetach}},
	{called, sawOrder, called, nil},
	{called, sawEnd, died, nil},
	{called, sawError, left, nil},
}

// isGone reports whether the tracer and its thread have parted.
func (s tracerState) isGone() bool {
	return s == freed || s == left || s == died || s == refused
}
