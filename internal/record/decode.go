// SPDX-License-Identifier: Apache-2.0

package record

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/hold/operation"
	"github.com/taskiso/taskiso/internal/noise"
	"github.com/taskiso/taskiso/internal/printable"
)

// Item is a [Batch], [Begin], [Found], [Gap], [LoopGap] or [Held], in the order in which a recording has them.
type Item interface{ item() }

// Batch is a [event.Batch]. Its events are valid until the next item.
type Batch struct{ event.Batch }

// Begin is when the observation begins.
type Begin struct{ At time.Duration }

// Found is a thread that was in user mode on a CPU at some time between two times.
type Found struct {
	CPU      int
	TID      uint32
	From, At time.Duration
}

// Gap is a time of which nothing is recorded: a chunk is damaged, or could not be written.
type Gap struct {
	From, Until time.Duration
	Events      uint32
}

// LoopGap is a time in which a busy loop did not run on its CPU.
type LoopGap struct {
	CPU int
	noise.Gap
}

// Held is an operation that was held.
type Held struct{ operation.Record }

func (Batch) item()   {}
func (Begin) item()   {}
func (Found) item()   {}
func (Gap) item()     {}
func (LoopGap) item() {}
func (Held) item()    {}

// decoder reads the records of one chunk.
type decoder struct {
	in    *bufio.Reader
	err   error // the first, after which everything is 0
	kinds []event.Kind
	names *Recorded
	until time.Duration // end of the chunk

	tables
	events   []event.Event // of the batch at hand
	tasks    []event.Task
	stacks   [][]uint64
	senders  []event.Sender
	switches []uint64
}

func newDecoder(c chunk, kinds []event.Kind, names *Recorded, events []event.Event) *decoder {
	content := io.LimitReader(flate.NewReader(bytes.NewReader(c.content)), maxContent)
	return &decoder{in: bufio.NewReader(content), kinds: kinds, names: names, until: c.until, tables: tables{time: c.from}, events: events[:0]}
}

// next returns the next item; io.EOF after the last.
func (d *decoder) next() (Item, error) {
	d.events = d.events[:0]
	for d.err == nil {
		tag, err := d.in.ReadByte()
		if errors.Is(err, io.EOF) && len(d.events) == 0 {
			return nil, io.EOF
		}
		if err != nil {
			return nil, d.broken(err)
		}
		if item := d.record(tag); item != nil && d.err == nil {
			return item, nil
		}
	}
	return nil, d.broken(d.err)
}

func (d *decoder) broken(err error) error {
	return fmt.Errorf("%w: a chunk does not hold what it should (%w)", ErrFormat, err)
}

// record takes in one record, and returns the item that it completes.
func (d *decoder) record(tag byte) Item {
	switch tag {
	case tagBatch:
		return d.batch()
	case tagBegin:
		return Begin{time.Duration(d.uint())}
	case tagFound:
		return Found{CPU: d.cpu(), TID: uint32(d.uint()), From: time.Duration(d.uint()), At: time.Duration(d.uint())}
	case tagLoopGap:
		return d.loopGap()
	case tagHeld:
		return d.held()
	case tagTask, tagStack, tagSender:
		d.define(tag)
	case tagFunction:
		d.names.add(d.names.functions, d.uint(), d.text())
	case tagSyscall:
		d.names.add(d.names.syscalls, d.uint(), d.text())
	default:
		d.event(tag)
	}
	return nil
}

func (d *decoder) loopGap() Item {
	g := LoopGap{CPU: d.cpu()}
	d.loop += time.Duration(d.int())
	g.At, g.Length = d.loop, time.Duration(d.uint())
	if g.At < 0 || g.Length < 0 || g.End() < g.At {
		d.fail(errNumber)
	}
	return g
}

func (d *decoder) held() Item {
	n := d.uint()
	if n > maxHeld {
		d.fail(errMany)
		return nil
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(d.in, text); err != nil {
		d.fail(err)
		return nil
	}
	var h Held
	if err := unmarshal(text, &h.Record, "operation"); err != nil {
		d.fail(err)
	}
	return h
}

// define takes in what events name.
func (d *decoder) define(tag byte) {
	switch tag {
	case tagTask:
		d.task()
	case tagStack:
		d.stack()
	case tagSender:
		d.sender()
	}
	if d.room.full() {
		d.fail(errMany)
	}
}

func (d *decoder) batch() Item {
	b := event.Batch{Events: d.events, Until: d.at(), SendersMissed: d.byte() != 0, Lost: make(map[int]uint64)}
	for n := d.uint(); n > 0 && d.err == nil; n-- {
		cpu := d.cpu()
		b.Lost[cpu] = d.uint()
	}
	if b.Until > d.until {
		d.fail(errOrder)
	}
	return Batch{b}
}

var (
	errNumber = errors.New("a number is too large")
	errRef    = errors.New("something is named that was not defined")
	errMany   = errors.New("there is too much of it")
	errTag    = errors.New("a record of unknown kind")
	errOrder  = errors.New("something is earlier than what stands before it")
	errKind   = errors.New("an event lacks what its kind has")
)

// event takes in an event. One of a kind that this program does not know is left out.
func (d *decoder) event(tag byte) {
	kind := int(tag) - firstKind
	if kind <= 0 || kind >= len(d.kinds) {
		d.fail(errTag)
		return
	}
	if len(d.events) >= MaxEvents {
		d.fail(errMany)
		return
	}
	l := &d.tables.kinds[kind]
	mask := d.byte()
	v := event.Event{Kind: d.kinds[kind], Time: d.at()}
	d.fields(mask, l)
	v.Watched, v.Throttled, v.Frozen = l.flags&flagWatched != 0, l.flags&flagThrottled != 0, l.flags&flagFrozen != 0
	v.CPU, v.TID, v.UserIP, v.A, v.B, v.C = l.cpu, l.tid, l.userIP, l.a, l.b, l.c
	d.name(&v, l)
	switch {
	case v.Kind == 0:
	case (v.Task != nil) != v.Kind.HasTask() || (v.Sender != nil) != v.Kind.IsSend():
		d.fail(errKind)
	default:
		d.events = append(d.events, v)
	}
}

func (d *decoder) fields(mask byte, l *last) {
	if mask&hasFlags != 0 {
		l.flags = d.byte()
	}
	if mask&hasCPU != 0 {
		l.cpu = d.cpu()
	}
	if mask&hasTID != 0 {
		l.tid = uint32(d.uint())
	}
	if mask&hasUserIP != 0 {
		l.userIP += d.int()
	}
	if mask&hasA != 0 {
		l.a += d.int()
	}
	if mask&hasB != 0 {
		l.b += d.int()
	}
	if mask&hasC != 0 {
		l.c += d.int()
	}
	if mask&hasRef != 0 {
		l.ref = int(min(d.uint(), maxEntries))
	}
}

// name adds the task or the sender that an event has.
func (d *decoder) name(v *event.Event, l *last) {
	switch {
	case l.flags&flagTask != 0:
		if l.ref >= len(d.tasks) {
			d.fail(errRef)
			return
		}
		d.switches[l.ref] += d.int()
		t := d.tasks[l.ref]
		t.Switches = d.switches[l.ref]
		v.Task = &t
	case l.flags&flagSender != 0:
		if l.ref >= len(d.senders) {
			d.fail(errRef)
			return
		}
		s := d.senders[l.ref]
		s.Conditional, s.Shown = l.flags&flagConditional != 0, l.flags&flagShown != 0
		v.Sender = &s
	}
}

func (d *decoder) task() {
	t := event.Task{TID: uint32(d.uint()), PID: uint32(d.uint()), Name: d.named()}
	flags := d.byte()
	t.Kernel, t.Watched, t.Born = flags&taskKernel != 0, flags&taskWatched != 0, time.Duration(d.uint())
	d.tasks, d.switches = append(d.tasks, t), append(d.switches, 0)
}

func (d *decoder) stack() {
	n := d.uint()
	if n > maxStack {
		d.fail(errMany)
		return
	}
	d.room.addStack(int(n))
	stack := make([]uint64, n)
	addr := uint64(0)
	for i := range stack {
		addr += d.int()
		stack[i] = addr
	}
	d.stacks = append(d.stacks, stack)
}

func (d *decoder) sender() {
	s := event.Sender{PID: uint32(d.uint()), Name: d.named(), Cgroup: d.uint()}
	stack := d.uint()
	if stack >= uint64(len(d.stacks)) {
		d.fail(errRef)
		return
	}
	s.Stack = d.stacks[stack]
	d.senders = append(d.senders, s)
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		d.err = err
	}
}

// at returns a time, none earlier than the one before.
func (d *decoder) at() time.Duration {
	before := d.time
	d.time += time.Duration(d.uint())
	if d.time < before {
		d.fail(errOrder)
	}
	return d.time
}

func (d *decoder) byte() byte {
	if d.err != nil {
		return 0
	}
	b, err := d.in.ReadByte()
	if err != nil {
		d.fail(err)
	}
	return b
}

func (d *decoder) uint() uint64 {
	if d.err != nil {
		return 0
	}
	n, err := binary.ReadUvarint(d.in)
	if err != nil {
		d.fail(err)
	}
	return n
}

// int returns a difference, to be added with wrap-around.
func (d *decoder) int() uint64 {
	if d.err != nil {
		return 0
	}
	n, err := binary.ReadVarint(d.in)
	if err != nil {
		d.fail(err)
	}
	return uint64(n)
}

// maxCPU is the largest number of a CPU that an event can have: 16 bits of struct event in trace/bpf/core.h.
const maxCPU = 1<<16 - 1

func (d *decoder) cpu() int {
	n := d.uint()
	if n > maxCPU {
		d.fail(errNumber)
		return 0
	}
	return int(n)
}

// named returns the name of a task or sender.
func (d *decoder) named() string {
	name := d.bytes()
	d.room.addNamed(len(name))
	return printable.Text(name)
}

// text returns a name as it may be shown: who wrote the file is not known.
func (d *decoder) text() string { return printable.Text(d.bytes()) }

func (d *decoder) bytes() string {
	n := d.uint()
	if n > maxText {
		d.fail(errNumber)
		return ""
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(d.in, text); err != nil {
		d.fail(err)
	}
	return string(text)
}
