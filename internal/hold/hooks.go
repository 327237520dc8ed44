// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"fmt"
	"maps"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
)

// Security modules are asked by functions of this name, and BPF programs that are
// modules by those of the other.
const (
	hookPrefix   = "security_"
	modulePrefix = "bpf_lsm_"
)

// asksModules reports whether the kernel asks BPF programs of the type for security
// modules: "bpf" is in its list of modules. The list is in a file system that need
// not be mounted, so it is tried out.
func asksModules(types *btf.Cache, spec *ebpf.CollectionSpec) (bool, error) {
	var probe struct {
		Program *ebpf.Program  `ebpf:"probe"`
		Probed  *ebpf.Variable `ebpf:"probed"`
	}
	if err := spec.LoadAndAssign(&probe, &ebpf.CollectionOptions{Cache: types}); err != nil {
		return false, nil // this kernel has no such type; if there is another reason, the others meet it as well
	}
	defer probe.Program.Close()
	l, err := link.AttachLSM(link.LSMOptions{Program: probe.Program})
	if err != nil {
		return false, nil
	}
	defer l.Close()
	if _, err := probe.Program.Info(); err != nil { // calls bpf(2), where it is attached
		return false, fmt.Errorf("probing for BPF among the security modules: %w", err)
	}
	var probed uint32
	if err := probe.Probed.Get(&probed); err != nil {
		return false, fmt.Errorf("probing for BPF among the security modules: %w", err)
	}
	return probed != 0, nil
}

// atFunctions moves the programs of modules to the functions that ask modules.
//
// There the kernel passes one by that is preempted while another task comes to it on
// the same CPU (this_cpu_inc_return(*prog->active) in __bpf_prog_enter_recur()); as
// modules it does not from Linux 6.2 on (commit 271de525e1d7).
func atFunctions(spec *ebpf.CollectionSpec) {
	for _, p := range spec.Programs {
		if p.Type == ebpf.LSM {
			p.Type, p.AttachType, p.AttachTo = ebpf.Tracing, ebpf.AttachModifyReturn, hookPrefix+p.AttachTo
		}
	}
}

// exitCopies is how many programs look at the result of loading a module by its file. The
// kernel skips one as it does in atFunctions, and no security module has a hook at that
// place. All of them are skipped only if as many other tasks are preempted at once on that
// CPU, each in another of these programs.
const exitCopies = 8

func copyExits(spec *ebpf.CollectionSpec) {
	exit := spec.Programs[bpfProgFinitModuleExit]
	exit.AttachTo = finitModule
	for n := 1; n < exitCopies; n++ {
		spec.Programs[fmt.Sprint(bpfProgFinitModuleExit, n)] = exit.Copy()
	}
}

// isHook reports whether a program stands at the hook of an operation.
func isHook(name string) bool { return !isExit(name) && name != bpfProgSignalGenerate }

func isExit(name string) bool { return strings.HasPrefix(name, bpfProgFinitModuleExit) }

// keepOnly takes out programs for which this kernel has no function.
func keepOnly(kernel *btf.Spec, spec *ebpf.CollectionSpec) {
	other := bpfProgPerfEventOpenWithAttributes
	if perfHasAttributes(kernel) {
		other = bpfProgPerfEventOpen
	}
	maps.DeleteFunc(spec.Programs, func(name string, p *ebpf.ProgramSpec) bool {
		switch p.Type {
		case ebpf.LSM:
			return name == other || !hasFunction(kernel, modulePrefix+p.AttachTo)
		case ebpf.Tracing:
			return name == other || !hasFunction(kernel, p.AttachTo)
		}
		return false
	})
}

// attach attaches a program at its hook, if it has one.
func attach(p *ebpf.Program) (link.Link, error) {
	switch p.Type() {
	case ebpf.LSM:
		return link.AttachLSM(link.LSMOptions{Program: p})
	case ebpf.Tracing:
		return link.AttachTracing(link.TracingOptions{Program: p})
	case ebpf.RawTracepoint:
		return link.AttachRawTracepoint(link.RawTracepointOptions{Name: bpfProgSignalGenerate, Program: p})
	}
	return nil, nil
}

func hasFunction(kernel *btf.Spec, name string) bool {
	var f *btf.Func
	return kernel.TypeByName(name, &f) == nil
}

// perfHasAttributes distinguishes the two signatures of the hook for perf events.
func perfHasAttributes(kernel *btf.Spec) bool {
	var f *btf.Func
	if kernel.TypeByName(hookPerf, &f) != nil {
		return false
	}
	proto, ok := f.Type.(*btf.FuncProto)
	return ok && len(proto.Params) == 2
}
