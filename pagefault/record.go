// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// record is one record of a ring, as far as we want to know it.
type record struct {
	kind     uint32 // PERF_RECORD_*
	time     time.Duration
	pid, tid int

	fault   kind   // PERF_RECORD_SAMPLE
	id      uint64 // of the event that it is a sample of, or of one that sampled the same; 0 if unknown
	address uint64
	ip      uint64
	sp      uint64 // stack pointer; 0 if unknown
	kernel  bool
	stack   []uint64

	parent  int     // PERF_RECORD_FORK: the process that forked
	creator int     // PERF_RECORD_FORK: the thread of it that did
	name    string  // PERF_RECORD_COMM
	exec    bool    // PERF_RECORD_COMM because of exec
	mapping Mapping // PERF_RECORD_MMAP2
	lost    uint64  // PERF_RECORD_LOST
}

// layout is what samples contain. Every field costs the thread that faults; what
// each of them does is in docs/benchmarks-pagefault.md.
type layout struct {
	pid, tid     int  // the only thread that is watched; 0: samples name theirs
	ids          bool // with the number of the event
	stackPointer bool
	stack        bool
	ahead        time.Duration // of the kernel's clock is the one that this process reads
}

// sampleType lets the kinds differ in length, which is what distinguishes them:
// samples of beginnings have the fewest fields, and those of major faults end in one
// more than those of minor ones, which software events leave zero. The number of the
// event cannot show it: on newer kernels (seen on 6.18) all events that sample the same fault
// of a thread get the number of the first (perf_prepare_sample fills in only what
// is missing), and that may be an event of another program.
func (l layout) sampleType(k kind) uint64 {
	t := uint64(unix.PERF_SAMPLE_TIME | unix.PERF_SAMPLE_ADDR)
	if l.tid == 0 {
		t |= unix.PERF_SAMPLE_TID
	}
	if l.ids {
		t |= unix.PERF_SAMPLE_IDENTIFIER
	}
	if k == entry {
		return t
	}
	t |= unix.PERF_SAMPLE_IP
	if l.stack {
		t |= unix.PERF_SAMPLE_CALLCHAIN
	}
	if l.stackPointer {
		t |= unix.PERF_SAMPLE_REGS_USER
	}
	if k == major {
		t |= unix.PERF_SAMPLE_WEIGHT
	}
	return t
}

// size returns the bytes in a record of fields that are one number each.
func size(fields uint64) int { return bits.OnesCount64(fields) * 8 }

var errShort = errors.New("record is too short")

// reader takes values off the front of a record. Once a record is too short all
// further values are zero.
type reader struct {
	rest  []byte
	short bool
}

func (r *reader) bytes(n int) []byte {
	if n > len(r.rest) {
		r.short, r.rest = true, nil
		return make([]byte, n)
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) u32() uint32 { return binary.NativeEndian.Uint32(r.bytes(4)) }
func (r *reader) u64() uint64 { return binary.NativeEndian.Uint64(r.bytes(8)) }

// headerSize is that of struct perf_event_header.
const headerSize = 8

// parse calls each with all records in data.
func (l layout) parse(data []byte, each func(record)) error {
	for len(data) > 0 {
		header := reader{rest: data}
		kind, misc := header.u32(), binary.NativeEndian.Uint16(header.bytes(2))
		size := int(binary.NativeEndian.Uint16(header.bytes(2)))
		if header.short || size < headerSize || size > len(data) {
			return fmt.Errorf("parsing a record of %d bytes out of %d: %w", size, len(data), errShort)
		}
		rec, known, err := l.record(kind, misc, data[headerSize:size])
		if err != nil {
			return err
		}
		if known {
			each(rec)
		}
		data = data[size:]
	}
	return nil
}

func (l layout) record(kind uint32, misc uint16, body []byte) (rec record, known bool, err error) {
	r := reader{rest: body}
	rec.kind = kind
	if kind == unix.PERF_RECORD_SAMPLE {
		l.sample(&rec, misc, &r)
	} else if l.trailer(&rec, &r); !rec.fill(misc, &r) {
		return rec, false, nil
	}
	if r.short {
		return rec, false, fmt.Errorf("parsing a record of type %d and %d bytes: %w", kind, len(body), errShort)
	}
	return rec, true, nil
}

// sample reads the fields in the order of perf_event_open(2).
func (l layout) sample(rec *record, misc uint16, r *reader) {
	begins := len(r.rest) == size(l.sampleType(entry))
	if l.ids {
		rec.id = r.u64()
	}
	if !begins {
		rec.ip = r.u64()
	}
	l.thread(rec, r)
	rec.time = time.Duration(r.u64()) + l.ahead
	rec.address = r.u64()
	if begins {
		rec.fault = entry
		return
	}
	rec.kernel = misc&unix.PERF_RECORD_MISC_CPUMODE_MASK == unix.PERF_RECORD_MISC_KERNEL
	if l.stack {
		rec.stack = r.callchain()
	}
	if l.stackPointer && r.u64() != unix.PERF_SAMPLE_REGS_ABI_NONE {
		rec.sp = r.u64()
	}
	switch len(r.rest) {
	case 0:
		rec.fault = minor
	case 8:
		rec.fault = major
	default:
		r.short = true
	}
}

func (l layout) thread(rec *record, r *reader) {
	if rec.pid, rec.tid = l.pid, l.tid; l.tid == 0 {
		rec.pid, rec.tid = int(int32(r.u32())), int(int32(r.u32()))
	}
}

// callchain leaves out the marks that show whether user or kernel addresses follow.
func (r *reader) callchain() []uint64 {
	n := r.u64()
	if n > uint64(len(r.rest)/8) {
		r.short = true
		return nil
	}
	stack := make([]uint64, 0, n)
	for range n {
		if ip := r.u64(); ip < perfContextMax {
			stack = append(stack, ip)
		}
	}
	return stack
}

// perfContextMax is PERF_CONTEXT_MAX: addresses above it are marks.
const perfContextMax = ^uint64(4095) + 1

// trailer reads what sample_id_all puts at the end of all records but samples:
// thread, time and number of the event, as far as samples have them.
func (l layout) trailer(rec *record, r *reader) {
	n := size(l.sampleType(entry) &^ unix.PERF_SAMPLE_ADDR)
	if len(r.rest) < n {
		r.short = true
		return
	}
	end := reader{rest: r.rest[len(r.rest)-n:]}
	l.thread(rec, &end)
	rec.time = time.Duration(end.u64()) + l.ahead
	r.rest = r.rest[:len(r.rest)-n]
}

// fill reads the body of a record that is not a sample. It reports whether we want it.
func (rec *record) fill(misc uint16, r *reader) bool {
	switch rec.kind {
	case unix.PERF_RECORD_LOST:
		r.u64()
		rec.lost = r.u64()
	case unix.PERF_RECORD_COMM:
		rec.pid, rec.tid = int(r.u32()), int(r.u32())
		rec.name = text(r.rest)
		rec.exec = misc&unix.PERF_RECORD_MISC_COMM_EXEC != 0
	case unix.PERF_RECORD_FORK, unix.PERF_RECORD_EXIT:
		rec.pid, rec.parent = int(r.u32()), int(r.u32())
		rec.tid, rec.creator = int(r.u32()), int(r.u32())
	case unix.PERF_RECORD_MMAP2:
		rec.pid, rec.tid = int(r.u32()), int(r.u32())
		rec.mapping = r.mmap2()
	default:
		return false
	}
	return true
}

func (r *reader) mmap2() Mapping {
	m := Mapping{Start: r.u64()}
	m.End = m.Start + r.u64()
	m.Offset = r.u64()
	r.bytes(24) // device and inode, or build ID
	prot, flags := r.u32(), r.u32()
	m.Protection = protection(prot)
	m.Shared = flags&unix.MAP_SHARED != 0
	m.setName(text(r.rest))
	return m
}

func protection(prot uint32) string {
	text := []byte("---")
	for i, bit := range []uint32{unix.PROT_READ, unix.PROT_WRITE, unix.PROT_EXEC} {
		if prot&bit != 0 {
			text[i] = "rwx"[i]
		}
	}
	return string(text)
}

// text cuts off the zeros that fill up a string.
func text(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}
