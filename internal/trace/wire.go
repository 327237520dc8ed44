// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/printable"
)

// Layout of struct event, struct task_event and struct send_event in bpf/core.h.
const (
	eventSize     = 48
	taskEventSize = eventSize + 40
	maxStack      = 32
	sendEventSize = eventSize + 32 + maxStack*8

	taskKernel      = 1
	taskWatched     = 2
	sendConditional = 4
	sendShown       = 8
	switchThrottled = 16
	switchFrozen    = 32
)

func decode(raw []byte) (event.Event, error) {
	if len(raw) < eventSize {
		return event.Event{}, fmt.Errorf("decoding event of %d bytes: shorter than its header", len(raw))
	}
	le := binary.LittleEndian
	e := event.Event{
		Time:    time.Duration(le.Uint64(raw)),
		Kind:    event.Kind(raw[8]),
		Watched: raw[9]&taskWatched != 0,
		CPU:     int(le.Uint16(raw[10:])),
		TID:     le.Uint32(raw[12:]),
		UserIP:  le.Uint64(raw[16:]),
		A:       le.Uint64(raw[24:]),
		B:       le.Uint64(raw[32:]),
		C:       le.Uint64(raw[40:]),
	}
	if want := size(e.Kind); want == 0 || len(raw) != want {
		return event.Event{}, fmt.Errorf("decoding event of kind %d with %d bytes: want %d", e.Kind, len(raw), want)
	}
	if e.Kind == event.Switch {
		e.Throttled, e.Frozen = raw[9]&switchThrottled != 0, raw[9]&switchFrozen != 0
	}
	switch {
	case e.Kind.HasTask():
		e.Task = decodeTask(uint32(e.A), raw[eventSize:])
	case e.Kind.IsSend():
		e.Sender = decodeSender(raw[eventSize:])
		e.Sender.Conditional = raw[9]&sendConditional != 0
		e.Sender.Shown = raw[9]&sendShown != 0
	}
	return e, nil
}

// size is the length of a record of kind k; 0 for an unknown kind.
func size(k event.Kind) int {
	switch {
	case !k.IsKnown():
		return 0
	case k.HasTask():
		return taskEventSize
	case k.IsSend():
		return sendEventSize
	default:
		return eventSize
	}
}

func decodeTask(tid uint32, raw []byte) *event.Task {
	flags := binary.LittleEndian.Uint32(raw[4:])
	return &event.Task{
		TID:     tid,
		PID:     binary.LittleEndian.Uint32(raw),
		Name:    name(raw[8:24]),
		Kernel:  flags&taskKernel != 0,
		Watched: flags&taskWatched != 0,

		Born:     time.Duration(binary.LittleEndian.Uint64(raw[24:])),
		Switches: binary.LittleEndian.Uint64(raw[32:]),
	}
}

func decodeSender(raw []byte) *event.Sender {
	le := binary.LittleEndian
	frames := min(int(le.Uint32(raw[4:])), maxStack)
	s := &event.Sender{
		PID:    le.Uint32(raw),
		Cgroup: le.Uint64(raw[8:]),
		Name:   name(raw[16:32]),
		Stack:  make([]uint64, frames),
	}
	for i := range s.Stack {
		s.Stack[i] = le.Uint64(raw[32+8*i:])
	}
	return s
}

func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// name decodes the name of a task, which a task gives to itself.
func name(b []byte) string { return printable.Text(cString(b)) }
