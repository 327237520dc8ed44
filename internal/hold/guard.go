// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/clock"
	"github.com/taskiso/taskiso/internal/emulator"
	"github.com/taskiso/taskiso/internal/feature"
	"github.com/taskiso/taskiso/internal/printable"
	"github.com/taskiso/taskiso/internal/sysname"
)

// maxCPUs is MAX_CPUS of bpf/hold.bpf.c.
const maxCPUs = 1024

// mode decides when an operation is kept back: enum mode of bpf/hold.bpf.c.
type mode uint32

const (
	open mode = iota
	closed
	busy // closed while a user task runs on one of the CPUs
)

// answer to a thread that waits: enum answer there.
type answer uint32

const (
	wait answer = iota
	pass
	deny
	taken // by the thread, which went on

	answerBits = 3 // ANSWER there: the bits of an answer, in the word that has the visit at which a thread waits
)

// Policies of the programs: enum policy there. An operation that is to be denied is
// held first, until it has been inspected.
const (
	programIgnore uint32 = iota
	programHold
	programReport
)

// guard is the programs at the hooks.
type guard struct {
	coll   *ebpf.Collection
	links  []link.Link
	reader *ringbuf.Reader
	ops    []Operation // with Missing set
	// asksModules: the programs are those of a security module.
	asksModules bool
}

// ErrNotSupported matches the error of [Open] on a kernel, or with privileges, that
// cannot keep anything back.
var ErrNotSupported = errors.New("operations cannot be held here")

func unsupported(why string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrNotSupported, why, err)
}

// openGuard loads and attaches the programs, which interrupts all CPUs.
func openGuard(cfg Config) (*guard, error) {
	g, err := loadGuard(cfg.Files)
	if err != nil {
		return nil, err
	}
	if err := g.begin(cfg); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

// loadGuard loads the programs, which is most of what opening takes, and attaches none.
func loadGuard(files fs.FS) (*guard, error) {
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, unsupported("loading BPF programs: run as root", err)
	}
	types := btf.NewCache() // to read the kernel's type information once, which takes a quarter of opening
	kernel, err := types.Kernel()
	if err != nil {
		return nil, unsupported("reading the kernel's type information", err)
	}
	if addressesHidden(files) {
		return nil, fmt.Errorf("%w: the kernel hides the addresses of its variables, as of its queues of tasks; set kernel.kptr_restrict to 0 or 1", ErrNotSupported)
	}
	if err := canStop(); err != nil {
		return nil, unsupported("stopping a thread as a debugger does", err)
	}
	g := &guard{ops: guarded(kernel)}
	if err := g.load(types); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

// begin gives the programs what they are to do, and attaches them.
func (g *guard) begin(cfg Config) error {
	if err := g.set(cfg); err != nil {
		return err
	}
	if err := g.attend(); err != nil {
		return err
	}
	return g.attach()
}

// addressesHidden reports whether each address that the kernel shows is 0: a file system without any proves nothing.
func addressesHidden(files fs.FS) bool {
	f, err := files.Open("proc/kallsyms")
	if err != nil {
		return false
	}
	defer f.Close()
	lines := 0
	for symbols := bufio.NewScanner(io.LimitReader(f, 1<<16)); symbols.Scan(); lines++ {
		if address, _, _ := strings.Cut(symbols.Text(), " "); strings.Trim(address, "0") != "" {
			return false
		}
	}
	return lines > 0
}

// attend lets the programs know whose end is that of the hold.
func (g *guard) attend() error {
	known, err := g.coll.Programs[bpfProgAttend].Run(&ebpf.RunOptions{})
	if err != nil {
		return fmt.Errorf("making taskiso known to the programs at the hooks: %w", err)
	}
	if known == 0 {
		return unsupported("process numbers here are not those of the kernel: start it outside of the PID namespace", unix.ESRCH)
	}
	return nil
}

// guarded returns the operations, each with the feature that this kernel lacks for it.
func guarded(kernel *btf.Spec) []Operation {
	ops := Operations()
	for i := range ops {
		for _, hook := range ops[i].Hooks {
			if !hasFunction(kernel, hook) {
				ops[i].Missing = "this kernel has no function " + hook
			}
		}
	}
	return ops
}

func (g *guard) load(types *btf.Cache) error {
	spec, err := loadBpf()
	if err != nil {
		return fmt.Errorf("reading the embedded BPF programs: %w", err)
	}
	if err := g.choose(types, spec); err != nil {
		return err
	}
	if err := g.fill(spec); err != nil {
		return err
	}
	if g.coll, err = ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{Cache: types}); err != nil {
		return notLoaded(err)
	}
	g.reader, err = ringbuf.NewReader(g.coll.Maps[bpfMapEvents])
	if err != nil {
		return fmt.Errorf("mapping the ring buffer: %w", err)
	}
	return nil
}

// notLoaded returns why the kernel did not take the programs. EACCES can be a refusal, or what its verifier thinks of a
// program: only the verifier writes a log.
func notLoaded(err error) error {
	var verifier *ebpf.VerifierError
	switch {
	case errors.As(err, &verifier) && len(verifier.Log) > 0:
		return fmt.Errorf("%w: the kernel's verifier rejects a BPF program of taskiso: %s; report it, with the version of the kernel",
			ErrNotSupported, complaint(verifier.Log))
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w: %s", ErrNotSupported, feature.Reason(feature.RefusesTrampolines())) // err guesses at memory limits
	}
	return unsupported("loading BPF programs for trampolines", err)
}

// complaint is the line of a verifier's log that has its reason: the last one, but for the statistics.
func complaint(log []string) string {
	for _, line := range slices.Backward(log) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "processed ") {
			return strconv.Quote(line)
		}
	}
	return "no reason given"
}

// choose leaves the programs that this kernel has hooks for, of the type that it asks.
func (g *guard) choose(types *btf.Cache, spec *ebpf.CollectionSpec) error {
	kernel, err := types.Kernel()
	if err != nil {
		return unsupported("reading the kernel's type information", err)
	}
	if g.asksModules, err = asksModules(types, spec.Copy()); err != nil {
		return err
	}
	if !g.asksModules {
		atFunctions(spec)
	}
	delete(spec.Programs, bpfProgProbe)
	delete(spec.Programs, bpfProgLook)
	copyExits(spec)
	keepOnly(kernel, spec)
	return nil
}

// set gives the programs what they are to do.
func (g *guard) set(cfg Config) error {
	var list [maxCPUs]uint32
	n := 0
	for cpu := range cfg.CPUs.All() {
		if n == maxCPUs {
			return fmt.Errorf("holding for %d CPUs: there can be %d", cfg.CPUs.Len(), maxCPUs)
		}
		list[n] = uint32(cpu)
		n++
	}
	var policies [opCodes]uint32
	for _, o := range g.ops {
		policies[o.code] = programPolicy(cfg.policyOf(o))
	}
	if policies[opHotplug] != policies[opMemory] { // the files of both have one name, and the keeper distinguishes them
		policies[opHotplug], policies[opMemory] = programHold, programHold
	}
	var commands uint64
	for command := range bpfCommands {
		commands |= 1 << command
	}
	for name, value := range map[string]any{
		bpfVarCpus: uint32(n), bpfVarCpu: list, bpfVarPolicies: policies, bpfVarBpfCommands: commands,
		bpfVarSupervisor: uint32(os.Getpid()), bpfVarPatience: uint64(patienceOn(cfg.Files)), bpfVarMaxWait: uint64(cfg.MaxWait),
		bpfVarFirstProcess: uint32(cmp.Or(cfg.first, 1)),
	} {
		if err := g.coll.Variables[name].Set(value); err != nil {
			return fmt.Errorf("setting %s to %v: %w", name, value, err)
		}
	}
	return nil
}

// patienceOn returns how long the program at the hook waits for the keeper, in time of its CPU. QEMU's emulator runs all
// CPUs in one thread, which comes to the keeper's only after 100 ms of a CPU that does not halt (package emulator).
func patienceOn(files fs.FS) time.Duration {
	if emulator.Found(files) {
		return 250 * time.Millisecond
	}
	return 50 * time.Millisecond
}

func programPolicy(p Policy) uint32 {
	switch p {
	case Ignore:
		return programIgnore
	case Report:
		return programReport
	}
	return programHold
}

// fill puts the tables of operation.go into the maps.
func (g *guard) fill(spec *ebpf.CollectionSpec) error {
	put := func(name string, key, value any) {
		spec.Maps[name].Contents = append(spec.Maps[name].Contents, ebpf.MapKV{Key: key, Value: value})
	}
	for _, r := range fileRules() {
		key := bpfFileKey{Magic: uint64(r.magic)}
		if len(r.name) >= len(key.Name) {
			return fmt.Errorf("the name of file %q is too long", r.name)
		}
		for i, c := range []byte(r.name) {
			key.Name[i] = int8(c)
		}
		put(bpfMapFiles, key, bpfFileRule{Operation: uint32(r.code), Mask: r.mask})
	}
	for major := range devices {
		put(bpfMapDevices, major, major)
	}
	for _, o := range socketOptions {
		put(bpfMapOptions, bpfOptionKey{Level: uint32(o.level), Option: uint32(o.option)}, uint8(1))
	}
	for _, o := range g.ops {
		for _, call := range o.Calls {
			if number, ok := sysname.Number(call); ok { // newer architectures lack older calls
				put(bpfMapCalls, bpfCallKey{Operation: uint32(o.code), Nr: uint32(number)}, uint8(1))
			}
		}
	}
	return nil
}

func (g *guard) attach() error {
	for _, name := range slices.Sorted(maps.Keys(g.coll.Programs)) {
		l, err := attach(g.coll.Programs[name])
		if err != nil {
			return unsupported("attaching to "+name, err)
		}
		if l != nil { // an unreferenced link is closed by its finaliser and silently detaches
			g.links = append(g.links, l)
		}
	}
	return nil
}

func (g *guard) setMode(m mode) error {
	if err := g.coll.Variables[bpfVarMode].Set(uint32(m)); err != nil {
		return fmt.Errorf("setting when operations are held to %d: %w", m, err)
	}
	return nil
}

// isClosed reports whether an operation would be held at this moment.
func (g *guard) isClosed() (bool, error) {
	code, err := g.coll.Programs[bpfProgIsClosed].Run(&ebpf.RunOptions{})
	if err != nil {
		return false, fmt.Errorf("asking whether operations are held: %w", err)
	}
	return code != 0, nil
}

// waiting returns what the programs know of a thread, if they know of it.
func (g *guard) waiting(tid int) (w bpfWaiting, known bool, err error) {
	err = g.coll.Maps[bpfMapThreads].Lookup(uint32(tid), &w)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return w, false, nil
	}
	if err != nil {
		return w, false, fmt.Errorf("looking whether thread %d waits: %w", tid, err)
	}
	return w, true, nil
}

// waits reports whether a thread still waits at the visit of the hook that an event is about.
func (g *guard) waits(e *event) (bool, error) {
	w, known, err := g.waiting(e.TID)
	return known && w.Visit == e.since|uint64(wait), err
}

// isTold reports whether a thread has an answer and has not come to the hook since.
func (g *guard) isTold(e *event) (bool, error) {
	w, known, err := g.waiting(e.TID)
	return known && (w.Visit == e.since|uint64(pass) || w.Visit == e.since|uint64(deny)), err
}

// answer gives a thread its answer, if the thread still waits at that visit of the hook, and
// comes back to the hook within a time.
func (g *guard) answer(e *event, a answer, within time.Duration) (answered bool, err error) {
	return g.change(e, wait, a, within)
}

// takeBack makes a thread wait on if it has not come to the hook since it got the answer to pass.
func (g *guard) takeBack(e *event) (bool, error) { return g.change(e, pass, wait, 0) }

// change is done by a program, at once: the thread may take its answer at any moment, and
// wait anew at another visit.
func (g *guard) change(e *event, from, to answer, within time.Duration) (changed bool, err error) {
	n, err := g.coll.Programs[bpfProgChangeAnswer].Run(&ebpf.RunOptions{Context: bpfChange{
		Since: e.since, Until: uint64(clock.Now() + within), Tid: uint32(e.TID), From: uint32(from), To: uint32(to),
	}})
	if err != nil {
		return false, fmt.Errorf("answering thread %d: %w", e.TID, err)
	}
	return n != 0, nil
}

// forget lets the next operation of a thread be a new one.
func (g *guard) forget(e *event) error {
	for _, from := range []answer{wait, pass, deny} {
		if changed, err := g.change(e, from, taken, 0); changed || err != nil {
			return err
		}
	}
	return nil
}

// remove removes what was forgotten of a thread that has ended. Its number comes round
// only after all others: no other thread gets it between the two steps.
func (g *guard) remove(e *event) error {
	w, known, err := g.waiting(e.TID)
	if err != nil || !known || w.Visit&^answerBits != e.since {
		return err
	}
	if err := g.coll.Maps[bpfMapThreads].Delete(uint32(e.TID)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("forgetting thread %d: %w", e.TID, err)
	}
	return nil
}

// lost returns how many events found no room. The programs send an event for the same visit again.
func (g *guard) lost() (uint64, error) {
	var n uint64
	if err := g.coll.Variables[bpfVarLostEvents].Get(&n); err != nil {
		return 0, fmt.Errorf("reading the number of lost events: %w", err)
	}
	return n, nil
}

// seen returns how many operations were held in a way that their program could see.
func (g *guard) seen() (uint64, error) {
	var n uint64
	if err := g.coll.Variables[bpfVarSeenOperations].Get(&n); err != nil {
		return 0, fmt.Errorf("reading how many operations were held visibly: %w", err)
	}
	return n, nil
}

// missed returns at how many visits of a hook the kernel passed our program by because
// another task had been preempted in it on the same CPU. Each may have been an operation
// that went on, held or recorded by nobody. It is 0 where BPF programs are security
// modules, except in a Linux 6.1 without commit 271de525e1d7.
func (g *guard) missed() (uint64, error) {
	var n uint64
	for name, p := range g.coll.Programs {
		if !isHook(name) {
			continue
		}
		stats, err := p.Stats()
		if err != nil {
			return 0, fmt.Errorf("reading the statistics of program %s: %w", name, err)
		}
		n += stats.RecursionMisses
	}
	return n, nil
}

// event is an operation that came to a hook while the hold was closed.
type event struct {
	Time   time.Duration // CLOCK_MONOTONIC
	since  uint64        // the visit of the hook that it is about; an event that is repeated has the same
	code   code
	exempt exemption
	PID    int
	TID    int
	UID    uint32
	Comm   string
	nr     int
	args   [6]uint64
	detail [2]uint64
	memory []byte // of the caller: what memory_of() of bpf/hold.bpf.c names, as far as it was there at once
}

// errNoEvent means that no event came in time.
var errNoEvent = errors.New("no event")

// next waits for an event for a time, or until wake.
func (g *guard) next(limit time.Duration) (event, error) {
	g.reader.SetDeadline(time.Now().Add(limit))
	r, err := g.reader.Read()
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, ringbuf.ErrFlushed) {
		return event{}, errNoEvent
	}
	if err != nil {
		return event{}, fmt.Errorf("waiting for operations: %w", err)
	}
	return decode(r.RawSample)
}

// wake ends a next that waits, or the one that comes.
func (g *guard) wake() { g.reader.Flush() }

func decode(raw []byte) (event, error) {
	var e bpfEvent
	if len(raw) != int(unsafe.Sizeof(e)) {
		return event{}, fmt.Errorf("reading the ring buffer: an event of %d bytes, want %d", len(raw), unsafe.Sizeof(e))
	}
	if _, err := binary.Decode(raw, binary.NativeEndian, &e); err != nil {
		return event{}, fmt.Errorf("reading the ring buffer: %w", err)
	}
	comm := make([]byte, 0, len(e.Comm))
	for _, c := range e.Comm {
		comm = append(comm, byte(c))
	}
	comm, _, _ = bytes.Cut(comm, []byte{0})
	return event{
		Time: time.Duration(e.Time), since: e.Since, code: code(e.Operation), exempt: exemption(e.Exempt),
		PID: int(e.Tgid), TID: int(e.Tid), UID: e.Uid, Comm: printable.Text(string(comm)),
		nr: int(e.Nr), args: e.Args, detail: e.Detail,
		memory: bytes.Clone(e.Memory[:min(int(e.Size), len(e.Memory))]),
	}, nil
}

// detach takes the programs away, so that nothing new comes.
func (g *guard) detach() error {
	var errs []error
	for _, l := range g.links {
		errs = append(errs, l.Close())
	}
	g.links = nil
	return errors.Join(errs...)
}

func (g *guard) close() error {
	errs := []error{g.detach()}
	if g.reader != nil {
		errs = append(errs, g.reader.Close())
	}
	if g.coll != nil {
		g.coll.Close()
	}
	return errors.Join(errs...)
}

// Available returns all operations, with the reason for each that this kernel lets
// nobody guard, or that it is not known. It loads a program for each hook, which the
// kernel checks, and attaches none.
func Available() ([]Operation, error) {
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return nil, unsupported("reading the kernel's type information", err)
	}
	ops := guarded(kernel)
	answers := make(map[string]error)
	for i := range ops {
		for _, hook := range ops[i].Hooks {
			if _, tried := answers[hook]; !tried {
				answers[hook] = feature.SecurityHook(strings.TrimPrefix(hook, hookPrefix))
			}
			ops[i].note(answers[hook])
		}
	}
	return ops, nil
}

// note sets why an operation is not guarded, if it would be otherwise.
func (o *Operation) note(err error) {
	switch {
	case err == nil || o.Missing != "":
	case errors.Is(err, feature.ErrNotSupported):
		o.Missing, o.Unknown = feature.Reason(err), ""
	default:
		o.Unknown = feature.Reason(err)
	}
}
