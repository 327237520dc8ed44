// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"

	"github.com/taskiso/taskiso/internal/clock"
	"github.com/taskiso/taskiso/internal/event"
)

// recordHeader is BPF_RINGBUF_HDR_SZ of include/uapi/linux/bpf.h.
const recordHeader = 8

type ring struct {
	reader records
	buffer *ebpf.Map
}

// records is what a ring needs of a [ringbuf.Reader].
type records interface {
	ReadInto(*ringbuf.Record) error
	SetDeadline(time.Time)
	BufferSize() int
	AvailableBytes() int
	Close() error
}

func (r ring) close() error { return errors.Join(r.reader.Close(), r.buffer.Close()) }

// createRings makes one ring for each watched CPU and one for all others, and
// returns which CPU uses which. The shared one is last.
func createRings(cfg Config) ([]ring, []ebpf.MapKV, error) {
	var rings []ring
	create := func(name string, size int) error {
		r, err := createRing(name, size)
		if err == nil {
			rings = append(rings, r)
		}
		return err
	}
	contents := make([]ebpf.MapKV, 0, cfg.PossibleCPUs)
	for cpu := range cfg.CPUs.All() {
		if err := create(fmt.Sprintf("cpu%d", cpu), cfg.RingBytes); err != nil {
			return rings, nil, err
		}
		contents = append(contents, ebpf.MapKV{Key: uint32(cpu), Value: rings[len(rings)-1].buffer})
	}
	others := senderRingBytes
	if cfg.CPUs.IsEmpty() { // then it takes everything
		others = cfg.RingBytes
	}
	if err := create("others", others); err != nil {
		return rings, nil, err
	}
	for cpu := range cfg.PossibleCPUs {
		if !cfg.CPUs.Contains(cpu) {
			contents = append(contents, ebpf.MapKV{Key: uint32(cpu), Value: rings[len(rings)-1].buffer})
		}
	}
	return rings, contents, nil
}

func createRing(name string, size int) (ring, error) {
	buffer, err := ebpf.NewMap(&ebpf.MapSpec{Name: name, Type: ebpf.RingBuf, MaxEntries: uint32(size)})
	if err != nil {
		return ring{}, fmt.Errorf("creating ring buffer %s of %d bytes: %w", name, size, err)
	}
	reader, err := ringbuf.NewReader(buffer)
	if err != nil {
		buffer.Close()
		return ring{}, fmt.Errorf("mapping ring buffer %s: %w", name, err)
	}
	return ring{reader, buffer}, nil
}

// Read takes everything recorded until now out of the ring buffers. It does
// not wait: callers poll, from a CPU that is not watched.
//
// A sender is recorded before it sends. So whatever caused an event that
// happened before the first ring is read is in some ring by then, and a batch
// that ends at that moment never lacks the sender of an arrival in it.
func (t *Tracer) Read() (event.Batch, error) {
	until := clock.Now()
	events := append(t.emptyBatch(), t.later...)
	for _, r := range t.rings {
		var err error
		if events, err = r.drain(events, until); err != nil {
			return event.Batch{}, err
		}
	}
	byTime := func(a, b event.Event) int { return cmp.Compare(a.Time, b.Time) }
	if !slices.IsSortedFunc(events, byTime) { // a flood comes from one ring, and sorting it for nothing is slow
		slices.SortStableFunc(events, byTime)
	}
	n, _ := slices.BinarySearchFunc(events, until, func(e event.Event, until time.Duration) int {
		if e.Time <= until {
			return -1
		}
		return 1
	})
	t.batch, t.later = events, append(t.later[:0], events[n:]...)
	notBefore(events[:n], t.until)
	t.until = until
	missed, err := t.missing.since(t.missedSenders)
	if err != nil {
		return event.Batch{}, err
	}
	return event.Batch{Events: events[:n], Until: until, Lost: t.lossy(), SendersMissed: missed}, nil
}

// interruptible are the programs of senders that run with interrupts on: if one that sends comes in the middle of the program, the kernel does
// not run it for that one (bpf_prog_active, or active of struct bpf_prog). All other senders hold a lock that
// interrupts take as well.
var interruptible = []string{"csd_queue_cpu", "ipi_send_cpu", "cgroup_attach_task", "__smp_call_single_queue", "generic_exec_single",
	"smp_call_function_many_cond", "native_smp_send_reschedule"}

// missedSenders counts those that were missed since Open. It asks the kernel, which takes some 5 µs for each program.
func (t *Tracer) missedSenders() (uint64, error) {
	var sum uint64
	for _, name := range interruptible {
		n, err := t.missedBy(name)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// misses is how many senders were missed in all, and whether any was when that was last read.
type misses struct {
	total uint64
	newly bool
}

// since reports whether a sender was missed in the batch that ends now, or was counted with the one before: that count
// was read after the end of that batch, and may belong to this one.
func (m *misses) since(count func() (uint64, error)) (bool, error) {
	total, err := count()
	if err != nil {
		return false, err
	}
	before := m.newly
	m.newly, m.total = total > m.total, total
	return m.newly || before, nil
}

// notBefore lets no event be earlier than the end of the batch before. One was if an interrupt came
// between its taking the time and its taking room: what the interrupt recorded was read first.
func notBefore(events []event.Event, until time.Duration) {
	for i := range events {
		if events[i].Time >= until {
			return
		}
		events[i].Time = until
	}
}

// emptyBatch has room for the events that are in the rings now. Growing by and by would leave several times as much
// garbage, just when a reader that was kept from reading finds them full.
func (t *Tracer) emptyBatch() []event.Event {
	room := len(t.later)
	for _, r := range t.rings {
		room += r.reader.AvailableBytes() / (recordHeader + eventSize)
	}
	if room > cap(t.batch) {
		t.batch = nil // is garbage before the new one is there
		return make([]event.Event, 0, room+room/8)
	}
	return t.batch[:0]
}

// drain takes what is in the ring, up to the first event after until that was not there at
// the start. A CPU may record as fast as this reads: what comes later is for the next batch,
// and kept here until then it would take as much memory again as the ring.
func (r ring) drain(events []event.Event, until time.Duration) ([]event.Event, error) {
	// Nobody wakes the reader: a deadline in the past makes it look once.
	r.reader.SetDeadline(time.Unix(1, 0))
	var rec ringbuf.Record
	there, last := r.reader.AvailableBytes(), time.Duration(0)
	for taken := 0; taken < there || last <= until && taken < r.reader.BufferSize(); taken += recordHeader + len(rec.RawSample) {
		if err := r.reader.ReadInto(&rec); errors.Is(err, os.ErrDeadlineExceeded) {
			return events, nil
		} else if err != nil {
			return events, fmt.Errorf("reading ring buffer: %w", err)
		}
		e, err := decode(rec.RawSample)
		if err != nil {
			return events, err
		}
		events, last = append(events, e), e.Time
	}
	return events, nil
}

// lossy returns what Lost of a batch is. The counters are read when the rings have been, which is after the
// end of the batch: what they count can belong to the next one as well.
func (t *Tracer) lossy() map[int]uint64 {
	lost := t.newlyLost()
	counted := slices.Collect(maps.Keys(lost))
	for _, cpu := range t.doubtful {
		lost[cpu] += 0
	}
	t.doubtful = counted
	return lost
}

func (t *Tracer) newlyLost() map[int]uint64 {
	lost := make(map[int]uint64)
	for cpu := range int(t.state.Size()) / cpuStateSize {
		total := t.lostOn(cpu)
		if n := total - t.lost[cpu]; n > 0 {
			lost[cpu] = n
			t.lost[cpu] = total
		}
	}
	return lost
}

func (t *Tracer) lostOn(cpu int) uint64 {
	var total uint64
	for k := range event.Kinds() {
		total += t.Lost(cpu, k)
	}
	return total
}
