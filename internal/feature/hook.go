// SPDX-License-Identifier: Apache-2.0

package feature

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/taskiso/taskiso/internal/proc"
)

// SecurityHook reports whether the kernel takes a program at the hook of that name, as
// "bpf" or "file_open": as one of a security module, or at the function that asks the
// modules. It loads a program and attaches none, because that interrupts every CPU.
func SecurityHook(name string) error {
	module := load(&ebpf.ProgramSpec{Type: ebpf.LSM, AttachType: ebpf.AttachLSMMac, AttachTo: name})
	if module == nil {
		return nil
	}
	function := load(&ebpf.ProgramSpec{Type: ebpf.Tracing, AttachType: ebpf.AttachModifyReturn, AttachTo: "security_" + name})
	switch {
	case function == nil:
		return nil
	case errors.Is(function, os.ErrPermission):
		return RefusesTrampolines()
	case errors.Is(function, ebpf.ErrNotSupported):
		return fmt.Errorf("this kernel has no hook %s for BPF programs: %w", name, ErrNotSupported)
	}
	return fmt.Errorf("loading a program for hook %s: %w", name, withoutLayers(function))
}

func load(spec *ebpf.ProgramSpec) error {
	spec.License = "GPL" // which the kernel wants of security modules
	spec.Instructions = asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}
	p, err := ebpf.NewProgram(spec)
	if err != nil {
		return err
	}
	return p.Close()
}

// RefusesTrampolines returns why a program for a trampoline was not permitted: the kernel refuses it if this process has
// the capabilities, else the reason is not known.
func RefusesTrampolines() error {
	const bpf, perfmon, admin = 1 << 39, 1 << 38, 1 << 21 // include/uapi/linux/capability.h
	caps, err := effectiveCapabilities()
	if err != nil {
		return err
	}
	if caps&admin == 0 && caps&(bpf|perfmon) != bpf|perfmon {
		return fmt.Errorf("trying it takes root, or CAP_BPF and CAP_PERFMON: %w", os.ErrPermission)
	}
	return fmt.Errorf("this kernel refuses BPF programs at its functions (trampolines), as one that is locked down does: %w", ErrNotSupported)
}

func effectiveCapabilities() (uint64, error) {
	status, err := proc.ReadStatus(os.DirFS("/"), "proc/self")
	if err != nil {
		return 0, fmt.Errorf("reading the capabilities of taskiso: %w", err)
	}
	return status.Mask("CapEff")
}

// Reason is the text of a probe's error, without the name of its kind.
func Reason(err error) string {
	text := err.Error()
	for _, kind := range []error{ErrNotSupported, os.ErrPermission} {
		text = strings.TrimSuffix(text, ": "+kind.Error())
	}
	return text
}
