// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/abi"
	"github.com/taskiso/taskiso/internal/clock"
	"github.com/taskiso/taskiso/internal/event"
)

// Follow selects which children of a watched task are watched as well.
type Follow uint32

// Values of Follow.
const (
	FollowNone Follow = iota
	FollowThreads
	FollowProcesses
)

// Sizes of ring buffers. At 56 bytes an event, the default holds 0.37 s of
// 200,000 events per second, many times the interval at which it is drained. Many CPUs
// share that much memory, down to a minimum each. Senders' events are rare.
const (
	defaultRingBytes = 4 << 20
	minRingBytes     = 1 << 20
	senderRingBytes  = 2 << 20
)

// maxTargets is MAX_TARGETS of bpf/core.h.
const maxTargets = 1024

// Config selects what to observe.
type Config struct {
	// CPUs whose entries are all recorded, whatever task they hit. When empty,
	// the watched tasks are followed to whichever CPU they run on.
	CPUs cpulist.Set
	// AllTasks records the system calls and page faults of every user task on
	// CPUs, not only of those given to Watch.
	AllTasks bool
	Follow   Follow
	// PossibleCPUs is the number of CPUs the kernel can ever have.
	PossibleCPUs int
	// RingBytes is the size of the ring buffer of each watched CPU, or with no
	// CPUs of the only one: a power of two and a multiple of the page size. 0
	// stands for a size that suits the number of CPUs.
	RingBytes int
	// Address returns where a kernel function begins, or 0 if there is none of that name; nil if the kernel hides
	// its symbols.
	Address func(function string) uint64
	// Isolation lets threads of watched processes be isolated: see [Isolation].
	Isolation bool
}

// Tracer is an attached observation. Its methods are not safe for concurrent use.
type Tracer struct {
	coll    *ebpf.Collection
	links   []link.Link
	rings   []ring
	state   *ebpf.Memory
	tasks   *ebpf.Map
	cpus    cpulist.Set
	sources []Source

	watchable []uint32 // CPUs that can be watched
	faults    []int    // perf events of resolved page faults

	isolation   *Isolation // nil if not asked for
	taskChanges uint32

	batch []event.Event  // what the last Read has handed out
	later []event.Event  // read, but not yet safe to hand out
	until time.Duration  // of the last Read
	lost  map[int]uint64 // by CPU, as last seen

	doubtful []int // CPUs whose losses were counted by the last Read
	missing  misses
}

const (
	cpuStateSize    = int(unsafe.Sizeof(bpfCpuState{}))
	seenOffset      = int(unsafe.Offsetof(bpfCpuState{}.Seen))
	lostOffset      = int(unsafe.Offsetof(bpfCpuState{}.Lost))
	watchedOffset   = int(unsafe.Offsetof(bpfCpuState{}.Watched))
	preemptOffset   = int(unsafe.Offsetof(bpfCpuState{}.Preempted))
	elsewhereOffset = int(unsafe.Offsetof(bpfCpuState{}.Elsewhere))
	noTID           = ^uint32(0)
)

// Open loads the programs and attaches every source the kernel offers. It
// interrupts all CPUs while it does so, and records nothing before Start.
//
// It needs CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN; without them the error
// wraps [os.ErrPermission]. A kernel without BTF gives [ebpf.ErrNotSupported].
func Open(cfg Config) (*Tracer, error) {
	if cfg.RingBytes == 0 {
		cfg.RingBytes = ringBytes(cfg.CPUs.Len())
	}
	// Before commit bdc4e369454f (Linux 5.11) BPF memory counts as locked memory.
	// A process that may not lift that limit may not load programs either.
	if err := rlimit.RemoveMemlock(); errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("loading BPF programs: %w", os.ErrPermission)
	} else if err != nil {
		return nil, fmt.Errorf("lifting the limit on locked memory: %w", err)
	}
	types := btf.NewCache() // to read the kernel's type information once
	kernel, err := types.Kernel()
	if err != nil {
		return nil, fmt.Errorf("reading the kernel's type information: %w", err)
	}
	t := &Tracer{cpus: cfg.CPUs, watchable: targets(cfg), sources: Attachable(kernel), lost: make(map[int]uint64)}
	if err := t.load(types, cfg); err != nil {
		t.Close()
		return nil, err
	}
	if err := t.attach(); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// ringBytes divides the default size among CPUs, by a power of two.
func ringBytes(cpus int) int {
	size := defaultRingBytes
	for n := 1; n < cpus && size > minRingBytes; n *= 2 {
		size /= 2
	}
	return size
}

func (t *Tracer) load(types *btf.Cache, cfg Config) error {
	spec, err := t.spec(cfg)
	if err != nil {
		return err
	}
	if err := checkDescriptors(spec, cfg.CPUs.Len()); err != nil {
		return err
	}
	rings, contents, err := createRings(cfg)
	t.rings = rings
	if err != nil {
		return err
	}
	spec.Maps["rings"].Contents = contents

	t.coll, err = ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{Cache: types})
	if err != nil {
		return fmt.Errorf("loading BPF programs: %w", err)
	}
	t.tasks = t.coll.Maps["tasks"]
	t.state, err = t.coll.Maps["cpus"].Memory()
	if err != nil {
		return fmt.Errorf("mapping the counters: %w", err)
	}
	if cfg.Isolation {
		return t.openIsolation()
	}
	return nil
}

// spec returns the programs for the sources at hand, set up for cfg.
func (t *Tracer) spec(cfg Config) (*ebpf.CollectionSpec, error) {
	spec, err := loadBpf()
	if err != nil {
		return nil, fmt.Errorf("reading the embedded BPF programs: %w", err)
	}
	maps.DeleteFunc(spec.Programs, func(name string, p *ebpf.ProgramSpec) bool {
		return (p.Type != ebpf.Syscall && p.Type != ebpf.PerfEvent || !cfg.Isolation) && !slices.ContainsFunc(t.sources, func(s Source) bool { return s.source.name == name && s.Err == nil })
	})
	cpus := spec.Maps["cpus"]
	cpus.MaxEntries = uint32(cfg.PossibleCPUs)
	for cpu := range cfg.PossibleCPUs {
		cpus.Contents = append(cpus.Contents, ebpf.MapKV{Key: uint32(cpu), Value: bpfCpuState{CachedTid: noTID}})
	}
	spec.Maps["rings"].MaxEntries = uint32(cfg.PossibleCPUs)

	if cfg.Isolation {
		pages := spec.Maps["pages"]
		pages.MaxEntries = StatusSlots
		for slot := range uint32(StatusSlots) {
			pages.Contents = append(pages.Contents, ebpf.MapKV{Key: slot, Value: bpfStatus{Version: abi.Version}})
		}
	}

	if err := setNamespace(spec); err != nil {
		return nil, err
	}

	var list [maxTargets]uint32
	n := copy(list[:], targets(cfg)) // see attachSource for more than fit in
	address := cfg.Address
	if address == nil {
		address = func(string) uint64 { return 0 }
	}
	for name, value := range map[string]any{
		"targets":    uint32(n),
		"target":     list,
		"all_tasks":  cfg.AllTasks,
		"any_cpu":    cfg.CPUs.Len() == 0,
		"follow":     uint32(cfg.Follow),
		"isolation":  cfg.Isolation,
		"csd_events": t.Has(event.CSDEnter),
		"supervisor": uint32(os.Getpid()),

		"faults_resolved_only": t.faultsAreSources(),

		"hidden_symbols":     cfg.Address == nil,
		"sched_ttwu_pending": address("sched_ttwu_pending"),
		"tick_function":      cmp.Or(address("tick_nohz_handler"), address("tick_sched_timer")), // since and before 6.9
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("setting %s to %v: %w", name, value, err)
		}
	}
	return spec, nil
}

// targets are the CPUs that a program goes through when it must look which of
// them are meant: those of cfg, or all.
func targets(cfg Config) []uint32 {
	var list []uint32
	for cpu := range cfg.PossibleCPUs {
		if cfg.CPUs.IsEmpty() || cfg.CPUs.Contains(cpu) {
			list = append(list, uint32(cpu))
		}
	}
	return list
}

func (t *Tracer) attach() error {
	for i := range t.sources {
		s := &t.sources[i]
		if s.Err == nil {
			s.Err = t.attachSource(s.source)
		}
		if s.Err != nil && s.source.needed {
			return fmt.Errorf("attaching to %s, which is needed to see %s: %w", s.Name, s.Shows, s.Err)
		}
	}
	if t.isolation != nil {
		t.isolation.NoFaults = t.watchIsolationFaults()
	}
	return nil
}

func (t *Tracer) attachSource(s source) error {
	if s.looksForTargets() && len(t.watchable) > maxTargets {
		return unsupported(fmt.Sprintf("it can look for %d CPUs, not for %d", maxTargets, len(t.watchable)))
	}
	if s.system == perfEvents {
		return t.watchFaults(s.name)
	}
	var l link.Link
	var err error
	program := t.coll.Programs[s.name]
	if s.system == kprobes {
		l, err = link.Kprobe(s.name, program, nil)
	} else {
		l, err = link.AttachRawTracepoint(link.RawTracepointOptions{Name: s.name, Program: program})
	}
	if err != nil {
		return innermost(err)
	}
	// An unreferenced link is closed by its finaliser and silently detaches.
	t.links = append(t.links, l)
	return nil
}

// innermost returns the error of the kernel, with the file that it is about, and without the context that a library added
// for each way it tried.
func innermost(err error) error {
	if file := (*fs.PathError)(nil); errors.As(err, &file) {
		return file
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// Start begins to record on the watched CPUs.
func (t *Tracer) Start() error {
	for cpu := range t.cpus.All() {
		if err := t.setWatched(cpu, 1); err != nil {
			return err
		}
	}
	return nil
}

// Stop ends the recording. Events that were recorded can still be read.
func (t *Tracer) Stop() error {
	for cpu := range t.cpus.All() {
		if err := t.setWatched(cpu, 0); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tracer) setWatched(cpu int, v uint32) error {
	off := int64(cpu*cpuStateSize + watchedOffset)
	if _, err := t.state.WriteAt(binary.NativeEndian.AppendUint32(nil, v), off); err != nil {
		return fmt.Errorf("switching the recording on CPU %d to %d: %w", cpu, v, err)
	}
	return nil
}

// Watch adds a thread whose own entries are recorded.
func (t *Tracer) Watch(tid int) error {
	if err := t.tasks.Put(uint32(tid), uint8(1)); err != nil {
		return fmt.Errorf("watching thread %d: %w", tid, err)
	}
	// A CPU may remember that this thread was not watched.
	t.taskChanges++
	if err := t.coll.Variables["task_changes"].Set(t.taskChanges); err != nil {
		return fmt.Errorf("announcing thread %d: %w", tid, err)
	}
	return nil
}

// Watched returns the threads that are watched now: those given to Watch and those that followed, but for those that have ended.
func (t *Tracer) Watched() ([]uint32, error) {
	var threads []uint32
	var tid uint32
	var value []byte
	all := t.tasks.Iterate()
	for all.Next(&tid, &value) {
		threads = append(threads, tid)
	}
	// A map from which others remove threads meanwhile cannot be read to its end: then these are some of them.
	if err := all.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return nil, fmt.Errorf("listing the watched threads: %w", err)
	}
	return threads, nil
}

// Unwatch removes a thread that Watch has added when it was ending. A thread that is not there is not an error.
func (t *Tracer) Unwatch(tid int) error {
	if err := t.tasks.Delete(uint32(tid)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("not watching thread %d: %w", tid, err)
	}
	return nil
}

// Sources lists every tracepoint with the reason for those not attached.
func (t *Tracer) Sources() []Source { return slices.Clone(t.sources) }

// Has reports whether the source of events of kind k is attached.
func (t *Tracer) Has(k event.Kind) bool {
	return slices.ContainsFunc(t.sources, func(s Source) bool { return s.Has(k) && s.Err == nil })
}

// Seen returns how many events of kind k happened on a CPU since Start,
// recorded or lost.
func (t *Tracer) Seen(cpu int, k event.Kind) uint64 { return t.counter(cpu, seenOffset, k) }

// Lost returns how many of those were lost.
func (t *Tracer) Lost(cpu int, k event.Kind) uint64 { return t.counter(cpu, lostOffset, k) }

func (t *Tracer) counter(cpu, table int, k event.Kind) uint64 {
	var b [8]byte
	if _, err := t.state.ReadAt(b[:], int64(cpu*cpuStateSize+table+8*int(k))); err != nil {
		return 0 // a CPU beyond PossibleCPUs has no events
	}
	return binary.NativeEndian.Uint64(b[:])
}

// Preempted returns how often the recording of an event on a CPU was preempted.
// If it never was, none of the events that Missed counts were on this CPU.
func (t *Tracer) Preempted(cpu int) uint64 {
	var b [4]byte
	if _, err := t.state.ReadAt(b[:], int64(cpu*cpuStateSize+preemptOffset)); err != nil {
		return 0
	}
	return uint64(binary.NativeEndian.Uint32(b[:]))
}

// Elsewhere returns how long watched tasks have run on a CPU that is not watched, up to now.
func (t *Tracer) Elsewhere(cpu int) time.Duration {
	var b [16]byte
	if _, err := t.state.ReadAt(b[:], int64(cpu*cpuStateSize+elsewhereOffset)); err != nil {
		return 0 // nothing runs on a CPU beyond PossibleCPUs
	}
	ran, since := binary.NativeEndian.Uint64(b[:8]), binary.NativeEndian.Uint64(b[8:])
	if since > 0 {
		ran += uint64(max(0, clock.Now()-time.Duration(since)))
	}
	return time.Duration(ran)
}

// Missed returns how many events no program saw because one of the same kind
// was just being recorded on the same CPU. The kernel counts them for all CPUs
// together.
func (t *Tracer) Missed() (uint64, error) {
	var missed uint64
	for name, p := range t.coll.Programs {
		stats, err := p.Stats()
		if err != nil {
			return 0, fmt.Errorf("reading the statistics of program %s: %w", name, err)
		}
		missed += stats.RecursionMisses
	}
	return missed, nil
}

// MissedOf returns how many of those were of kind k.
func (t *Tracer) MissedOf(k event.Kind) (uint64, error) { return t.missedBy(k.String()) }

// missedBy returns how many of those events a program should have seen; 0 if there is no program of that name.
func (t *Tracer) missedBy(program string) (uint64, error) {
	p := t.coll.Programs[program]
	if p == nil {
		return 0, nil
	}
	stats, err := p.Stats()
	if err != nil {
		return 0, fmt.Errorf("reading the statistics of program %s: %w", program, err)
	}
	return stats.RecursionMisses, nil
}

// UnwatchedChildren returns how many children of watched tasks are not watched
// because there were too many at once.
func (t *Tracer) UnwatchedChildren() (uint64, error) {
	var n uint64
	if err := t.coll.Variables["unwatched_children"].Get(&n); err != nil {
		return 0, fmt.Errorf("reading the number of unwatched children: %w", err)
	}
	return n, nil
}

// Close detaches everything. Isolated threads are notified before.
func (t *Tracer) Close() error {
	var errs []error
	if t.isolation != nil {
		errs = append(errs, t.isolation.close())
	}
	t.closeFaults()
	for _, l := range t.links {
		errs = append(errs, l.Close())
	}
	for _, r := range t.rings {
		errs = append(errs, r.close())
	}
	if t.coll != nil {
		t.coll.Close()
	}
	return errors.Join(errs...)
}
