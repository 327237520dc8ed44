// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/taskiso/taskiso/internal/event"
)

// source is a tracepoint, or a function that a kprobe is set on, and the program
// attached to it; all have its name.
type source struct {
	kind   event.Kind
	system string
	name   string
	// params are the arguments we read, and those before them, in the form of
	// the kernel's BTF: programs get them by position, so a kernel that
	// changed them must not be read wrongly.
	// With more than one way in which kernels have them, these stand between " | ".
	params string
	// shows names the facts that a user does not see when the source is missing.
	shows string
	// also are other kinds that the program records.
	also []event.Kind
	// needed sources are those without which no two causes can be distinguished.
	needed bool
}

// perfEvents is the system of sources that are software events of perf, one on each watched CPU. They need no signature.
const perfEvents = "perf"

// kprobes is the system of sources that are functions. Setting a kprobe needs no
// tracepoint, but its function can change from one kernel to the next.
const kprobes = "kprobe"

// at is a source with the name of its kind.
func at(kind event.Kind, system, params, shows string, needed bool) source {
	return source{kind: kind, system: system, name: kind.String(), params: params, shows: shows, needed: needed}
}

// sources are what every architecture has, with [entries] and [senders] of this one.
var sources = slices.Concat([]source{
	at(event.SyscallEnter, "raw_syscalls", "struct pt_regs *, long int", "system calls", false),
	at(event.SyscallExit, "raw_syscalls", "struct pt_regs *, long int", "the end of system calls", false),
	at(event.Signal, "signal", "int, struct kernel_siginfo *", "signals", false),
	at(event.UserExit, "context_tracking", "int", "every kernel entry on nohz_full CPUs", false),
	at(event.UserEnter, "context_tracking", "int", "every return to user mode on nohz_full CPUs", false),
}, entries, []source{
	at(event.SoftirqEnter, "irq", "unsigned int", "softirqs", false),
	at(event.SoftirqExit, "irq", "unsigned int", "the end of softirqs", false),
	at(event.CSDEnter, "csd", "smp_call_func_t, call_single_data_t *", "which function another CPU called", false),
	at(event.CSDExit, "csd", "smp_call_func_t, call_single_data_t *", "how long such a function took", false),
	at(event.HRTimer, "timer", "struct hrtimer *", "which high-resolution timer expired", false),
	at(event.Timer, "timer", "struct timer_list *", "which timer expired", false),
	at(event.Tick, "timer", "int, int", "the reason why the tick goes on", false),
	at(event.Work, "workqueue", "struct work_struct *", "which work a kworker ran", false),
	at(event.Switch, "sched", "bool, struct task_struct *, struct task_struct *, unsigned int", "which task runs", true),

	at(event.Fork, "sched", "struct task_struct *, struct task_struct *", "children", true),
	at(event.Exec, "sched", "struct task_struct *, pid_t", "the start of the command", true),
	at(event.Exit, "sched", "struct task_struct *", "the end of tasks", true),
	at(event.Migrate, "sched", "struct task_struct *, int", "threads that leave the CPUs", false),

	at(event.SendCall, "csd", "const unsigned int, long unsigned int, smp_call_func_t, call_single_data_t *", "the sender of a function-call interrupt", false),
	at(event.SendReschedule, "ipi", "const unsigned int, long unsigned int, void *", "the sender of a rescheduling interrupt", false),
	at(event.SendWake, "sched", "struct task_struct *", "the waker of a task", false),
	at(event.SendWork, "workqueue", "int, struct pool_workqueue *, struct work_struct *", "the origin of queued work", false),
	at(event.SendHRTimer, "timer", "struct hrtimer *", "the task that armed a high-resolution timer", false),
	at(event.SendTimer, "timer", "struct timer_list *", "the task that armed a timer", false),
	at(event.SendCgroup, "cgroup", "struct cgroup *, const char *, struct task_struct *", "the task that moved another to a different cgroup", false),
	at(event.SendAffinity, kprobes, "struct task_struct *, struct affinity_context * | struct task_struct *, const struct cpumask *, u32", "the task that let another run on the CPU", false),
}, senders)

// standIns are used where a tracepoint is missing. The compiler may have made one
// part of another, so the first two overlap.
var standIns = map[string][]source{
	"csd_queue_cpu": {
		standIn(event.SendCall, "__smp_call_single_queue", "int, struct llist_node *", "the sender of a function-call interrupt"),
		standIn(event.SendSingle, "generic_exec_single", "int, struct __call_single_data *", "the sender of a function-call interrupt to one CPU"),
		standIn(event.SendCalls, "smp_call_function_many_cond", "const struct cpumask *, smp_call_func_t, void *, unsigned int, smp_cond_func_t", "the sender of function-call interrupts to many CPUs"),
	},
	"ipi_send_cpu": rescheduling,
}

// standIn is a source that is a function.
func standIn(kind event.Kind, function, params, shows string) source {
	return source{kind: kind, system: kprobes, name: function, params: params, shows: shows}
}

// looksForTargets reports whether the program goes through a list of CPUs.
func (s source) looksForTargets() bool {
	return s.kind == event.SendCalls || s.kind == event.SendAffinity || s.kind == event.SendIPI
}

// allSources lists the sources, and then those that stand in for one.
func allSources() []source {
	all := slices.Clone(sources)
	for _, s := range sources {
		all = append(all, standIns[s.name]...)
	}
	return all
}

// unsupported names a feature that a kernel does not have. It matches [ebpf.ErrNotSupported], whose text would add
// nothing.
type unsupported string

func (u unsupported) Error() string { return string(u) }
func (unsupported) Unwrap() error   { return ebpf.ErrNotSupported }

// errNotThere is the reason of a source the kernel was built without.
const errNotThere = unsupported("not in this kernel")

// Source is one tracepoint or kprobe and whether the kernel offers it.
type Source struct {
	Name  string // "irq_vectors:local_timer_entry"
	Kind  event.Kind
	Also  []event.Kind // other kinds that it shows
	Shows string       // what is not seen without it
	Err   error        // why it is missing; nil when it is available
	// InPlaceOf is the tracepoint for which a kprobe stands in: "csd:csd_queue_cpu".
	InPlaceOf string

	source source
}

// Has reports whether the source shows events of kind k, where it is available.
func (s *Source) Has(k event.Kind) bool { return s.Kind == k || slices.Contains(s.Also, k) }

// ShowsLateFaults reports whether the source shows page faults when they are resolved.
func (s *Source) ShowsLateFaults() bool { return strings.HasPrefix(s.Name, perfEvents+":") }

// Sources lists every tracepoint the tracer can use, with the reason for those
// that the kernel described by its BTF does not have in the form we know. Where
// kprobes can stand in for one, they are listed in its place.
func Sources(kernel *btf.Spec) []Source {
	list := make([]Source, 0, len(sources))
	for _, s := range sources {
		found := s.find(kernel)
		others, ok := findAny(kernel, standIns[s.name], found.Name)
		if found.Err != nil && ok {
			list = append(list, others...)
		} else {
			list = append(list, found)
		}
	}
	return list
}

// Attachable lists the same, with the reason also for those that cannot be attached although they are there. It
// attaches none: that would interrupt every CPU.
func Attachable(kernel *btf.Spec) []Source {
	list := Sources(kernel)
	err := checkKprobes()
	for i := range list {
		if list[i].Err == nil && list[i].source.system == kprobes {
			list[i].Err = err
		}
	}
	return list
}

// findAny returns sources, and whether any of them is available.
func findAny(kernel *btf.Spec, sources []source, inPlaceOf string) ([]Source, bool) {
	var list []Source
	available := false
	for _, s := range sources {
		found := s.find(kernel)
		found.InPlaceOf = inPlaceOf
		list = append(list, found)
		available = available || found.Err == nil
	}
	return list, available
}

func (s source) find(kernel *btf.Spec) Source {
	return Source{Name: s.system + ":" + s.name, Kind: s.kind, Also: s.also, Shows: s.shows, Err: s.check(kernel), source: s}
}

// check looks for the source in the kernel's BTF.
func (s source) check(kernel *btf.Spec) error {
	if s.system == perfEvents {
		return nil
	}
	params, err := s.signature(kernel)
	if errors.Is(err, btf.ErrNotFound) {
		return errNotThere
	}
	if err != nil {
		return fmt.Errorf("reading the signature of %s: %w", s.name, err)
	}
	known := strings.Split(s.params, " | ")
	if !slices.ContainsFunc(known, func(known string) bool { return strings.HasPrefix(params+",", known+",") }) {
		return unsupported(fmt.Sprintf("it has arguments (%s), not (%s)", params, strings.Join(known, ") or (")))
	}
	return nil
}

// signature returns the arguments of the source as C would write them.
func (s source) signature(kernel *btf.Spec) (string, error) {
	if s.system == kprobes {
		var function *btf.Func
		if err := kernel.TypeByName(s.name, &function); err != nil {
			return "", err
		}
		proto, ok := function.Type.(*btf.FuncProto)
		if !ok {
			return "", fmt.Errorf("%v is not a function", function.Type)
		}
		return paramNames(proto.Params), nil
	}
	var def *btf.Typedef
	if err := kernel.TypeByName("btf_trace_"+s.name, &def); err != nil {
		return "", err
	}
	return tracepointParams(def)
}

// tracepointParams returns the arguments of a tracepoint without the first one,
// which is the tracepoint's private data.
func tracepointParams(def *btf.Typedef) (string, error) {
	ptr, ok := def.Type.(*btf.Pointer)
	if !ok {
		return "", fmt.Errorf("%v is not a pointer", def.Type)
	}
	proto, ok := ptr.Target.(*btf.FuncProto)
	if !ok || len(proto.Params) == 0 {
		return "", fmt.Errorf("%v is not a function with arguments", ptr.Target)
	}
	return paramNames(proto.Params[1:]), nil
}

func paramNames(params []btf.FuncParam) string {
	names := make([]string, 0, len(params))
	for _, p := range params {
		names = append(names, typeName(p.Type))
	}
	return strings.Join(names, ", ")
}

func typeName(t btf.Type) string {
	switch t := t.(type) {
	case *btf.Void:
		return "void"
	case *btf.Pointer:
		return typeName(t.Target) + " *"
	case *btf.Const:
		return "const " + typeName(t.Type)
	case *btf.Struct:
		return "struct " + t.Name
	case *btf.Union:
		return "union " + t.Name
	case *btf.Enum:
		return "enum " + t.Name
	default:
		return t.TypeName()
	}
}
