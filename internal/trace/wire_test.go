// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/taskiso/taskiso"
	"github.com/taskiso/taskiso/internal/abi"
	"github.com/taskiso/taskiso/internal/event"
)

func loadSpec(t *testing.T) *ebpf.CollectionSpec {
	t.Helper()
	spec, err := loadBpf()
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// kindNames are the names of the kinds of events in Go, in the order of their numbers.
func kindNames(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../event/kind.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range file.Decls {
		if block, is := d.(*ast.GenDecl); is && block.Tok == token.CONST {
			for _, spec := range block.Specs {
				names = append(names, spec.(*ast.ValueSpec).Names[0].Name)
			}
		}
	}
	return names
}

// The causes are a contract with tasks: their numbers do not change.
func TestBreakCausesAreThoseOfTheBPFPrograms(t *testing.T) {
	var enum *btf.Enum
	if err := loadSpec(t).Types.TypeByName("break_cause", &enum); err != nil {
		t.Fatal(err)
	}
	names := []string{"", "SYSCALL", "PAGE_FAULT", "TIMER", "RESCHEDULE", "CALL", "IRQ_WORK", "VECTOR", "IRQ", "NMI", "TASK", "SIGNAL", "MOVED", "UNNAMED", "UNWATCHED"}
	for _, v := range enum.Values {
		if i := slices.Index(names, strings.TrimPrefix(v.Name, "BREAK_")); uint64(i) != v.Value {
			t.Errorf("%s is %d, and was %d", v.Name, v.Value, i)
		}
	}
	if len(enum.Values) != int(taskiso.Unwatched) {
		t.Errorf("%d causes in the programs, %d in package taskiso", len(enum.Values), taskiso.Unwatched)
	}
}

// What tasks map is what package abi says, and begins the page.
func TestStatusPageLayout(t *testing.T) {
	there := slices.DeleteFunc(reflect.VisibleFields(reflect.TypeFor[bpfStatus]()), func(f reflect.StructField) bool { return f.Name == "_" })
	here := reflect.VisibleFields(reflect.TypeFor[abi.Status]())
	if size := reflect.TypeFor[bpfStatus]().Size(); size != abi.PageSize || len(there) != len(here)+1 || there[len(here)].Offset != reflect.TypeFor[abi.Status]().Size() {
		t.Fatalf("%d bytes, fields %v, want %d, %v and what fills it", size, there, abi.PageSize, here)
	}
	for i, want := range here {
		if got := there[i]; !strings.EqualFold(got.Name, want.Name) || got.Offset != want.Offset || got.Type != want.Type {
			t.Errorf("field %d is %s at %d, want %s at %d", i, got.Name, got.Offset, want.Name, want.Offset)
		}
	}
}

// Macros are not in the object: their lines are compared.
func TestIsolationNumbersAreThoseOfTheBPFPrograms(t *testing.T) {
	text, err := os.ReadFile("bpf/isolation.h")
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]int{
		"PR_TASK_ISOLATION": abi.SetTaskIsolation, "PR_GET_TASK_ISOLATION": abi.GetTaskIsolation, "ISOLATION_ENABLE": abi.Enable,
		"STATUS_VERSION": abi.Version, "STATUS_SIZE": abi.PageSize, "STATUS_SLOTS": StatusSlots,
	} {
		if !strings.Contains(string(text), fmt.Sprintf("#define %s %d\n", name, value)) {
			t.Errorf("the programs do not define %s as %d", name, value)
		}
	}
}

func TestKindsAreThoseOfTheBPFPrograms(t *testing.T) {
	var enum *btf.Enum
	if err := loadSpec(t).Types.TypeByName("kind", &enum); err != nil {
		t.Fatal(err)
	}
	here := kindNames(t)
	if len(enum.Values) != len(here) {
		t.Fatalf("%d kinds in the programs, %d here", len(enum.Values), len(here))
	}
	for i, v := range enum.Values[1:] { // the first is no kind
		there := strings.ReplaceAll(strings.TrimPrefix(v.Name, "KIND_"), "_", "")
		if v.Value != uint64(i+1) || !strings.EqualFold(there, here[i+1]) {
			t.Errorf("%s is %d in the programs, %s %d here", v.Name, v.Value, here[i+1], i+1)
		}
	}
}

// The layout that decode assumes is that of the C structures.
func TestEventLayout(t *testing.T) {
	types := loadSpec(t).Types
	for _, tc := range []struct {
		name    string
		size    int
		offsets map[string]int
	}{
		{"event", eventSize, map[string]int{"time": 0, "kind": 8, "flags": 9, "cpu": 10, "tid": 12, "ip": 16, "a": 24, "b": 32, "c": 40}},
		{"task_event", taskEventSize, map[string]int{"e": 0, "tgid": eventSize, "flags": eventSize + 4, "comm": eventSize + 8, "born": eventSize + 24, "switches": eventSize + 32}},
		{"send_event", sendEventSize, map[string]int{
			"e": 0, "tgid": eventSize, "frames": eventSize + 4, "cgroup": eventSize + 8, "comm": eventSize + 16, "stack": eventSize + 32,
		}},
	} {
		var s *btf.Struct
		if err := types.TypeByName(tc.name, &s); err != nil {
			t.Error(err)
			continue
		}
		if int(s.Size) != tc.size {
			t.Errorf("struct %s has %d bytes, want %d", tc.name, s.Size, tc.size)
		}
		offsets := make(map[string]int)
		for _, m := range s.Members {
			offsets[m.Name] = int(m.Offset.Bytes())
		}
		if !maps.Equal(offsets, tc.offsets) {
			t.Errorf("struct %s has %v, want %v", tc.name, offsets, tc.offsets)
		}
	}
	var flags *btf.Enum
	if err := types.TypeByName("task_flag", &flags); err != nil {
		t.Fatal(err)
	}
	want := map[string]uint64{"TASK_KERNEL": taskKernel, "TASK_WATCHED": taskWatched, "SEND_CONDITIONAL": sendConditional, "SEND_SHOWN": sendShown,
		"SWITCH_THROTTLED": switchThrottled, "SWITCH_FROZEN": switchFrozen}
	for _, v := range flags.Values {
		if v.Value != want[v.Name] {
			t.Errorf("%s is %d, want %d", v.Name, v.Value, want[v.Name])
		}
	}
}

// record is an event as the programs write it.
func record(kind event.Kind, flags byte, rest ...any) []byte {
	var b bytes.Buffer
	for _, field := range append([]any{
		uint64(1000), kind, flags, uint16(3), uint32(42), uint64(0x401000), uint64(7), uint64(8), uint64(9),
	}, rest...) {
		if err := binary.Write(&b, binary.LittleEndian, field); err != nil {
			panic(err)
		}
	}
	return b.Bytes()
}

func comm(name string) (c [16]byte) {
	copy(c[:], name)
	return c
}

func TestDecode(t *testing.T) {
	var stack [maxStack]uint64
	stack[0], stack[1] = 0xffff0001, 0xffff0002
	head := event.Event{Time: 1000, CPU: 3, TID: 42, UserIP: 0x401000, A: 7, B: 8, C: 9}
	for _, tc := range []struct {
		name   string
		raw    []byte
		change func(*event.Event)
	}{
		{"watched", record(event.SyscallEnter, taskWatched), func(e *event.Event) { e.Kind, e.Watched = event.SyscallEnter, true }},
		{"kernel", record(event.NMI, taskKernel), func(e *event.Event) { e.Kind = event.NMI }},
		{"switch", record(event.Switch, 0, uint32(5), uint32(taskWatched), comm("app"), uint64(77), uint64(3)), func(e *event.Event) {
			e.Kind, e.Task = event.Switch, &event.Task{TID: 7, PID: 5, Name: "app", Watched: true, Born: 77, Switches: 3}
		}},
		{"switch from a thread whose quota is used up", record(event.Switch, taskWatched|switchThrottled, uint32(5), uint32(0), comm("app"), uint64(77), uint64(3)), func(e *event.Event) {
			e.Kind, e.Watched, e.Throttled, e.Task = event.Switch, true, true, &event.Task{TID: 7, PID: 5, Name: "app", Born: 77, Switches: 3}
		}},
		{"switch from a frozen thread", record(event.Switch, taskWatched|switchFrozen, uint32(5), uint32(0), comm("app"), uint64(77), uint64(3)), func(e *event.Event) {
			e.Kind, e.Watched, e.Frozen, e.Task = event.Switch, true, true, &event.Task{TID: 7, PID: 5, Name: "app", Born: 77, Switches: 3}
		}},
		{"switch to a kernel thread with a long name", record(event.Switch, 0, uint32(5), uint32(taskKernel), comm("0123456789abcdef"), uint64(0), uint64(0)), func(e *event.Event) {
			e.Kind, e.Task = event.Switch, &event.Task{TID: 7, PID: 5, Name: "0123456789abcdef", Kernel: true}
		}},
		{"exec", record(event.Exec, taskWatched, uint32(5), uint32(taskWatched), comm("sh"), uint64(0), uint64(0)), func(e *event.Event) {
			e.Kind, e.Watched, e.Task = event.Exec, true, &event.Task{TID: 7, PID: 5, Name: "sh", Watched: true}
		}},
		{"sender", record(event.SendCall, 0, uint32(5), uint32(2), uint64(77), comm("bash"), stack), func(e *event.Event) {
			e.Kind, e.Sender = event.SendCall, &event.Sender{PID: 5, Name: "bash", Cgroup: 77, Stack: stack[:2]}
		}},
		{"sender of a call whose arrival shows", record(event.SendCall, sendShown, uint32(5), uint32(0), uint64(77), comm("bash"), stack), func(e *event.Event) {
			e.Kind, e.Sender = event.SendCall, &event.Sender{PID: 5, Name: "bash", Cgroup: 77, Stack: stack[:0], Shown: true}
		}},
		{"sender with more frames than fit", record(event.SendReschedule, 0, uint32(5), uint32(99), uint64(77), comm("0123456789abcdef"), stack), func(e *event.Event) {
			e.Kind, e.Sender = event.SendReschedule, &event.Sender{PID: 5, Name: "0123456789abcdef", Cgroup: 77, Stack: stack[:]}
		}},
	} {
		want := head
		tc.change(&want)
		got, err := decode(tc.raw)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if show(got) != show(want) {
			t.Errorf("%s: got %s, want %s", tc.name, show(got), show(want))
		}
	}
}

func show(e event.Event) string {
	s := fmt.Sprintf("%d at %v on %d: thread %d %v %x %d %d %d", e.Kind, e.Time, e.CPU, e.TID, e.Watched, e.UserIP, e.A, e.B, e.C)
	if e.Task != nil {
		s += fmt.Sprintf(" %+v", *e.Task)
	}
	if e.Sender != nil {
		s += fmt.Sprintf(" %+v", *e.Sender)
	}
	return s
}

func TestDecodeRefuses(t *testing.T) {
	for name, raw := range map[string][]byte{
		"nothing":               nil,
		"half an event":         record(event.Timer, 0)[:eventSize-1],
		"kind 0":                record(0, 0),
		"an unknown kind":       record(unknownKind(), 0),
		"a longer event":        record(event.Timer, 0, uint64(0)),
		"a switch to nobody":    record(event.Switch, 0),
		"a sender of half size": record(event.SendCall, 0, uint32(1), uint32(0), uint64(1)),
	} {
		if e, err := decode(raw); err == nil {
			t.Errorf("%s was decoded as %s", name, show(e))
		}
	}
}

// unknownKind is the first number after those of the kinds.
func unknownKind() event.Kind {
	k := event.Kind(1)
	for k.IsKnown() {
		k++
	}
	return k
}

func FuzzDecode(f *testing.F) {
	for k := range unknownKind() {
		f.Add(record(k, taskWatched, make([]byte, max(0, size(k)-eventSize))))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := decode(raw)
		if err != nil {
			return
		}
		if len(raw) != size(e.Kind) || e.Kind.String() == "unknown" {
			t.Errorf("%d bytes decoded as kind %d", len(raw), e.Kind)
		}
		if (e.Task != nil) != e.Kind.HasTask() || (e.Sender != nil) != e.Kind.IsSend() {
			t.Errorf("kind %s with task %v, sender %v", e.Kind, e.Task, e.Sender)
		}
		if e.Time != time.Duration(binary.LittleEndian.Uint64(raw)) {
			t.Errorf("time %d", e.Time)
		}
		if e.Sender != nil && (len(e.Sender.Stack) > maxStack || len(e.Sender.Name) > 16) {
			t.Errorf("sender %+v", e.Sender)
		}
	})
}

// Every source has a program of its name, and every program a source.
func TestSourcesAreThePrograms(t *testing.T) {
	spec := loadSpec(t)
	var fromSources []string
	seen := make(map[event.Kind]bool)
	for _, s := range allSources() {
		fromSources = append(fromSources, s.name)
		typ, section := ebpf.RawTracepoint, "raw_tp/"+s.name
		switch s.system {
		case kprobes:
			typ, section = ebpf.Kprobe, "kprobe/"+s.name
		case perfEvents:
			typ, section = ebpf.PerfEvent, "perf_event"
		}
		if p := spec.Programs[s.name]; p != nil && (p.Type != typ || p.SectionName != section) {
			t.Errorf("program %s is %s in section %s", s.name, p.Type, p.SectionName)
		}
		for _, k := range append(s.also, s.kind) {
			if seen[k] && !slices.Contains([]event.Kind{event.SendCall, event.SendReschedule, event.PageFault}, k) {
				t.Errorf("two sources of kind %s", k)
			}
			seen[k] = true
		}
		if s.system == "" || s.shows == "" || s.params == "" {
			t.Errorf("%s lacks a word: %+v", s.name, s)
		}
	}
	maps.DeleteFunc(spec.Programs, func(name string, p *ebpf.ProgramSpec) bool {
		_, fault := faultEvents[name]
		return p.Type == ebpf.Syscall || p.Type == ebpf.Tracing || fault && !slices.Contains(fromSources, name) // called, or of the task side only
	})
	fromPrograms := slices.Sorted(maps.Keys(spec.Programs))
	slices.Sort(fromSources)
	if !slices.Equal(fromSources, fromPrograms) {
		t.Errorf("sources %q\nprograms %q", fromSources, fromPrograms)
	}
	for k := range event.Kinds() {
		if seen[k] == (k.IsIsolation() || slices.Contains(elsewhere, k)) {
			t.Errorf("kind %s has a source: %v", k, seen[k])
		}
	}
}
