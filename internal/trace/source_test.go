// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/taskiso/taskiso/internal/event"
)

var (
	cInt      = &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	cLong     = &btf.Int{Name: "long int", Size: 8, Encoding: btf.Signed}
	cBool     = &btf.Int{Name: "bool", Size: 1, Encoding: btf.Bool}
	cUnsigned = &btf.Int{Name: "unsigned int", Size: 4}
	regs      = &btf.Pointer{Target: &btf.Struct{Name: "pt_regs", Size: 8, Members: []btf.Member{{Name: "ip", Type: cLong}}}}
	private   = &btf.Pointer{Target: &btf.Void{}}
)

// kernelWith makes the BTF of a kernel with one tracepoint of that signature.
func kernelWith(t *testing.T, tracepoint string, params ...btf.Type) *btf.Spec {
	t.Helper()
	proto := &btf.FuncProto{Return: &btf.Void{}}
	for _, p := range params {
		proto.Params = append(proto.Params, btf.FuncParam{Type: p})
	}
	return kernelWithType(t, &btf.Typedef{Name: "btf_trace_" + tracepoint, Type: &btf.Pointer{Target: proto}})
}

func kernelWithType(t *testing.T, types ...btf.Type) *btf.Spec {
	t.Helper()
	b, err := btf.NewBuilder(types, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := b.Marshal(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

func sourceOf(t *testing.T, k event.Kind) source {
	t.Helper()
	for _, s := range sources {
		if s.kind == k {
			return s
		}
	}
	t.Fatalf("no source of kind %d", k)
	return source{}
}

func TestSourceCheck(t *testing.T) {
	for _, tc := range []struct {
		name   string
		kind   event.Kind
		kernel *btf.Spec
		want   string // in the error; "" for none
	}{
		{"as known", event.SyscallEnter, kernelWith(t, "sys_enter", private, regs, cLong), ""},
		{"one argument more at the end", event.SyscallEnter, kernelWith(t, "sys_enter", private, regs, cLong, cInt), ""},
		{"an argument gone", event.SyscallEnter, kernelWith(t, "sys_enter", private, regs), "(struct pt_regs *), not"},
		{"an argument of another type", event.SyscallEnter, kernelWith(t, "sys_enter", private, regs, cInt), "not (struct pt_regs *, long int)"},
		{"arguments exchanged", event.SyscallEnter, kernelWith(t, "sys_enter", private, cLong, regs), "has arguments"},
		{"one argument more at the beginning", event.UserExit, kernelWith(t, "user_exit", private, cBool, cInt), "has arguments"},
		{"a longer type name", event.UserExit, kernelWith(t, "user_exit", private, &btf.Typedef{Name: "int_fast", Type: cInt}), "has arguments"},
		{"a constant", event.SendReschedule, kernelWith(t, "ipi_send_cpu", private, &btf.Const{Type: cUnsigned},
			&btf.Int{Name: "long unsigned int", Size: 8}, private), ""},
		{"another tracepoint", event.SyscallExit, kernelWith(t, "sys_enter", private, regs, cLong), "not in this kernel"},
		{"no function", event.SyscallEnter, kernelWithType(t, &btf.Typedef{Name: "btf_trace_sys_enter", Type: cInt}), "is not a pointer"},
		{"a pointer to no function", event.SyscallEnter, kernelWithType(t, &btf.Typedef{Name: "btf_trace_sys_enter", Type: private}), "is not a function"},
		{"a function as of 6.2", event.SendAffinity, kernelWithType(t, function("set_cpus_allowed_common", pointerTo("task_struct"), pointerTo("affinity_context"))), ""},
		{"a function as before", event.SendAffinity, kernelWithType(t, function("set_cpus_allowed_common", pointerTo("task_struct"),
			&btf.Pointer{Target: &btf.Const{Type: pointerTo("cpumask").Target}}, &btf.Typedef{Name: "u32", Type: cUnsigned})), ""},
		{"a function that has neither", event.SendAffinity, kernelWithType(t, function("set_cpus_allowed_common", pointerTo("task_struct"))), "not (struct task_struct *, struct affinity_context *) or (struct task_struct *, const struct cpumask *, u32)"},
		{"no arguments at all", event.SyscallEnter, kernelWith(t, "sys_enter"), "is not a function with arguments"},
	} {
		err := sourceOf(t, tc.kind).check(tc.kernel)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: got error %v, want %q", tc.name, err, tc.want)
		}
	}
}

func pointerTo(name string) *btf.Pointer {
	return &btf.Pointer{Target: &btf.Struct{Name: name, Size: 8, Members: []btf.Member{{Name: "first", Type: cLong}}}}
}

// function is one that a kprobe can be set on.
func function(name string, params ...btf.Type) btf.Type {
	proto := &btf.FuncProto{Return: &btf.Void{}}
	for _, p := range params {
		proto.Params = append(proto.Params, btf.FuncParam{Name: "p", Type: p})
	}
	return &btf.Func{Name: name, Type: proto}
}

// Where a tracepoint is missing, kprobes on functions that are as known take its
// place; those that are not are listed with it.
func TestKprobesStandIn(t *testing.T) {
	node := &btf.Pointer{Target: &btf.Struct{Name: "llist_node", Size: 8, Members: []btf.Member{{Name: "next", Type: cLong}}}}
	kernel := kernelWithType(t,
		function("__smp_call_single_queue", cInt, node),
		function("generic_exec_single", cInt, cInt),       // not what we know
		function("native_smp_send_reschedule", cUnsigned), // neither
	)
	got := make(map[string]error)
	for _, s := range Sources(kernel) {
		got[s.Name] = s.Err
	}
	if err, ok := got["kprobe:__smp_call_single_queue"]; !ok || err != nil {
		t.Errorf("__smp_call_single_queue: listed %v, error %v", ok, err)
	}
	if err := got["kprobe:generic_exec_single"]; err == nil || !strings.Contains(err.Error(), "(int, int)") {
		t.Errorf("generic_exec_single: error %v", err)
	}
	if err := got["kprobe:smp_call_function_many_cond"]; !errors.Is(err, errNotThere) {
		t.Errorf("smp_call_function_many_cond: error %v", err)
	}
	if _, ok := got["csd:csd_queue_cpu"]; ok {
		t.Error("csd_queue_cpu is listed though a kprobe stands in for it")
	}
	if err, ok := got["ipi:ipi_send_cpu"]; !ok || err == nil {
		t.Errorf("ipi_send_cpu, for which nothing stands in: listed %v, error %v", ok, err)
	}
	if _, ok := got["kprobe:native_smp_send_reschedule"]; ok {
		t.Error("native_smp_send_reschedule is listed with an unknown signature")
	}
}

// Where a tracepoint is there, no kprobe is set.
func TestKprobesDoNotStandInForWhatIsThere(t *testing.T) {
	ipiSendCPU := &btf.FuncProto{Return: &btf.Void{}, Params: []btf.FuncParam{
		{Type: private}, {Type: &btf.Const{Type: cUnsigned}}, {Type: &btf.Int{Name: "long unsigned int", Size: 8}}, {Type: private},
	}}
	kernel := kernelWithType(t,
		&btf.Typedef{Name: "btf_trace_ipi_send_cpu", Type: &btf.Pointer{Target: ipiSendCPU}},
		function("native_smp_send_reschedule", cInt),
	)
	for _, s := range Sources(kernel) {
		if s.Kind == event.SendReschedule && (s.Name != "ipi:ipi_send_cpu" || s.Err != nil) {
			t.Errorf("got %+v", s)
		}
	}
}

// What a kernel does not have is told apart from what went wrong.
func TestSourcesOfAKernelWithOneTracepoint(t *testing.T) {
	list := Sources(kernelWith(t, "sys_enter", private, regs, cLong))
	if len(list) != len(sources) {
		t.Errorf("%d sources listed, want %d", len(list), len(sources))
	}
	for _, s := range list {
		if s.Kind == event.SyscallEnter {
			if s.Err != nil || s.Name != "raw_syscalls:sys_enter" || s.Shows != "system calls" {
				t.Errorf("got %+v", s)
			}
			continue
		}
		if !errors.Is(s.Err, ebpf.ErrNotSupported) || !errors.Is(s.Err, errNotThere) {
			t.Errorf("%s: error %v", s.Name, s.Err)
		}
	}
}
