// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// kprobePMU is the perf event source of kprobes, since commit e12f03d7031a (4.17).
const kprobePMU = "/sys/bus/event_source/devices/kprobe/type"

// noFunction is none of the kernel's.
const noFunction = "taskiso_no_such_function"

// checkKprobes returns an error if no kprobe can be set. It tries a function that does not exist, because setting a
// kprobe interrupts every CPU: the kernel returns the error for the name only if all else was right.
func checkKprobes() error {
	text, err := os.ReadFile(kprobePMU)
	if errors.Is(err, fs.ErrNotExist) {
		return checkKprobeEvents()
	}
	if err != nil {
		return fmt.Errorf("looking for kprobes: %w", err)
	}
	pmu, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	if err != nil {
		return fmt.Errorf("looking for kprobes: %s has %q, no number", kprobePMU, text)
	}
	name, err := unix.BytePtrFromString(noFunction)
	if err != nil {
		return err
	}
	attr := unix.PerfEventAttr{Type: uint32(pmu), Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{})), Ext1: uint64(uintptr(unsafe.Pointer(name)))}
	fd, err := unix.PerfEventOpen(&attr, -1, 0, -1, unix.PERF_FLAG_FD_CLOEXEC)
	runtime.KeepAlive(name)
	switch {
	case err == nil:
		unix.Close(fd)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("this process may set no kprobe: %w", err)
	case !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL): // the errors of kernels for the name
		return fmt.Errorf("setting a kprobe: %w", err)
	}
	return nil
}

// checkKprobeEvents looks for the file with which older kernels set kprobes.
func checkKprobeEvents() error {
	for _, dir := range []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"} {
		if _, err := os.Stat(dir + "/kprobe_events"); err == nil {
			return nil
		} else if errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("this process may set no kprobe: %w", err)
		}
	}
	return unsupported("this kernel has no kprobes (CONFIG_KPROBE_EVENTS)")
}

// CheckRawTracepoints returns an error if no program can be attached to a raw tracepoint. As with kprobes, the one it
// tries is not there.
func CheckRawTracepoints() error {
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         ebpf.RawTracepoint,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
		License:      "Dual BSD/GPL",
	})
	if err != nil {
		return fmt.Errorf("loading a program: %w", innermost(err))
	}
	defer program.Close()
	l, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: noFunction, Program: program})
	if err == nil {
		return l.Close()
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("attaching a program: %w", innermost(err))
}
