// SPDX-License-Identifier: Apache-2.0

package perfetto

// The numbers of fields are those of https://github.com/google/perfetto, in protos/perfetto/trace and below: trace_packet.proto,
// clock_snapshot.proto, trace_packet_defaults.proto, interned_data/interned_data.proto, and track_event/ with
// track_event.proto, track_descriptor.proto, counter_descriptor.proto and debug_annotation.proto; in common/builtin_clock.proto those of
// clocks. A reader leaves out fields that it does not know. testdata/trace.proto has the same numbers for protoc.
const (
	tracePacket = 1 // of Trace

	packetClocks   = 6 // of TracePacket
	packetTime     = 8
	packetSequence = 10
	packetEvent    = 11
	packetInterned = 12
	packetFlags    = 13
	packetDefaults = 59
	packetTrack    = 60
	packetFirst    = 87

	clearsState = 1 // SEQ_INCREMENTAL_STATE_CLEARED
	needsState  = 2 // SEQ_NEEDS_INCREMENTAL_STATE

	defaultClock = 58 // of TracePacketDefaults

	snapshotClock   = 1 // of ClockSnapshot
	snapshotPrimary = 2
	clockID         = 1 // of ClockSnapshot.Clock
	clockTime       = 2
	realtimeClock   = 1 // of BuiltinClock
	monotonicClock  = 3

	internedNames  = 2 // of InternedData
	internedArgs   = 3
	internedValues = 29
	stringID       = 1 // of EventName, DebugAnnotationName and InternedString
	stringText     = 2

	trackUUID    = 1 // of TrackDescriptor
	trackName    = 2
	trackParent  = 5
	trackCounter = 8
	trackOrder   = 11
	trackRank    = 12
	orderByRank  = 3 // of ChildTracksOrdering: EXPLICIT
	counterUnit  = 3 // of CounterDescriptor

	eventArg     = 4 // of TrackEvent
	eventKind    = 9
	eventName    = 10
	eventTrack   = 11
	eventCounter = 30
	eventFlow    = 47
	eventFlowEnd = 48

	sliceBegin = 1 // of TrackEvent.Type
	sliceEnd   = 2
	instant    = 3
	counter    = 4

	argName    = 1 // of DebugAnnotation
	argBool    = 2
	argInt     = 4
	argPointer = 7
	argString  = 17
)
