// SPDX-License-Identifier: Apache-2.0

// Package feature finds out what this kernel can do for this process, by trying
// it. A kernel's version is never asked: distributions backport, and privileges
// and lockdown decide as well.
package feature

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/clock"
	"github.com/taskiso/taskiso/internal/ksym"
	"github.com/taskiso/taskiso/internal/proc"
	"github.com/taskiso/taskiso/internal/seccomp"
	"github.com/taskiso/taskiso/internal/topology"
	"github.com/taskiso/taskiso/internal/trace"
)

// ErrNotSupported means that the kernel does not have a feature, with any privileges.
var ErrNotSupported = ebpf.ErrNotSupported

// Answer is what a probe found: yes, no, or that it could not find out.
type Answer string

// Values of Answer.
const (
	Yes     Answer = "yes"
	No      Answer = "no"
	Unknown Answer = "unknown" // inconclusive, often for lack of privileges
)

// Feature is one thing that can be asked for.
type Feature struct {
	Name  string `json:"name"`
	Gives string `json:"gives"` // what a user has from it
	// Needed features are those without which no kernel entry is seen.
	Needed bool   `json:"needed"`
	Answer Answer `json:"answer"`
	Reason string `json:"reason,omitempty"` // unless the answer is yes
	// Denied is true if it could not be tried for lack of privileges.
	Denied bool `json:"denied,omitempty"`
	// Next is what can be done about it, where something can.
	Next string `json:"next,omitempty"`
}

// probe tries one feature. It returns nil for yes, an error that matches
// [ErrNotSupported] for no, and any other error if it could not find out.
type probe struct {
	name, gives, next string
	needed            bool
	try               func() error
}

// Usable returns a function that reports whether a tracepoint, or another feature by its name, can be used.
func Usable(files fs.FS) func(name string) bool {
	usable := make(map[string]bool)
	for _, f := range All(files) {
		usable[f.Name] = f.Answer == Yes
	}
	return func(name string) bool { return usable[name] }
}

// All tries everything. files is the root of the file tree.
func All(files fs.FS) []Feature {
	probes := append(bpfProbes(), systemProbes(files)...)
	list := make([]Feature, 0, len(probes))
	for _, p := range probes {
		list = append(list, p.run())
	}
	return append(list, tracepoints()...)
}

func (p probe) run() Feature {
	f := Feature{Name: p.name, Gives: p.gives, Needed: p.needed, Answer: Yes}
	if err := p.try(); err != nil {
		f.Answer, f.Reason, f.Next = answer(err), reason(err), p.next
		if errors.Is(err, fs.ErrNotExist) && f.Answer == Unknown {
			f.Next = "mount /proc, /sys and what is usual below them"
		}
		f.Denied = errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 // root is refused for another reason: a lockdown
	}
	return f
}

// reason returns why, without repeating the answer and without the words of the library.
func reason(err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return "refused: operation not permitted"
	}
	for _, sentinel := range []error{ErrNotSupported, errors.ErrUnsupported} {
		if text, found := strings.CutSuffix(err.Error(), ": "+sentinel.Error()); found && errors.Is(err, sentinel) {
			return text
		}
	}
	return withoutLayers(err).Error()
}

// withoutLayers returns the file that an error is about, or the kernel's answer, without what a library went through.
func withoutLayers(err error) error {
	var file *fs.PathError
	var errno unix.Errno
	switch {
	case errors.As(err, &file):
		return &fs.PathError{Op: file.Op, Path: "/" + strings.TrimPrefix(file.Path, "/"), Err: file.Err}
	case errors.As(err, &errno):
		return fmt.Errorf("the kernel's answer is: %w", errno)
	}
	return err
}

func answer(err error) Answer {
	switch {
	case err == nil:
		return Yes
	case errors.Is(err, ErrNotSupported), errors.Is(err, errors.ErrUnsupported), errors.Is(err, unix.EMFILE):
		return No
	default:
		return Unknown
	}
}

const bpfPrivileges = "run as root, or with CAP_BPF and CAP_PERFMON"

func bpfProbes() []probe {
	return []probe{
		{
			name: "kernel type information (BTF)", gives: "programs that fit this kernel", needed: true,
			next: "use a kernel with CONFIG_DEBUG_INFO_BTF",
			try: func() error {
				_, err := btf.LoadKernelSpec()
				return err
			},
		},
		{
			name: "BPF on raw tracepoints", gives: "kernel entries and their causes", needed: true, next: bpfPrivileges,
			try: trace.CheckRawTracepoints,
		},
		{
			name: "BPF ring buffer", gives: "events without waking the observed CPU", needed: true, next: bpfPrivileges,
			try: func() error { return features.HaveMapType(ebpf.RingBuf) },
		},
		{
			name: "registers of the task", gives: "where user mode was left", needed: true, next: bpfPrivileges,
			try: func() error { return features.HaveProgramHelper(ebpf.RawTracepoint, asm.FnTaskPtRegs) },
		},
		{
			name: "signals from BPF", gives: "an isolated thread is notified of a break in the same stay", next: bpfPrivileges,
			try: func() error { return features.HaveProgramHelper(ebpf.RawTracepoint, asm.FnSendSignalThread) },
		},
		{
			name: "BPF programs by system call", gives: "threads that run already can be isolated; a status page is right when taskiso ends", next: bpfPrivileges,
			try: func() error { return features.HaveProgramType(ebpf.Syscall) },
		},
		{
			name: "BPF trampolines", gives: "operations of others can be held (taskiso hold)",
			next: "use a kernel that is not locked down; only hold depends on them",
			try:  func() error { return SecurityHook("bpf") },
		},
	}
}

func systemProbes(files fs.FS) []probe {
	return []probe{
		{
			name: "answering prctl(48)", gives: "a thread of a command can ask to be isolated",
			next: "run as root or with CAP_SYS_ADMIN, on a kernel with CONFIG_SECCOMP_FILTER",
			try:  seccomp.CanInstall,
		},
		{
			name: "kernel symbols", gives: "functions and stacks by name",
			next: "set kernel.kptr_restrict=1 and run as root or with CAP_SYSLOG",
			try: func() error {
				f, err := files.Open("proc/kallsyms")
				if err != nil {
					return err
				}
				defer f.Close()
				_, err = ksym.Load(f)
				return err
			},
		},
		{
			name: "nohz_full CPUs", gives: "no tick, and proof that every kernel entry was seen",
			next: "boot with nohz_full=CPUS on a kernel with CONFIG_NO_HZ_FULL",
			try: func() error {
				cpus, err := topology.NohzFull(files)
				if errors.Is(err, fs.ErrNotExist) {
					return fmt.Errorf("this kernel is built without CONFIG_NO_HZ_FULL: %w", ErrNotSupported)
				}
				if err == nil && cpus.IsEmpty() {
					return fmt.Errorf("no CPU is nohz_full: %w", ErrNotSupported)
				}
				return err
			},
		},
		{
			name: "isolated CPUs", gives: "CPUs that the scheduler leaves alone",
			next: "boot with isolcpus=domain,managed_irq,CPUS",
			try: func() error {
				cpus, err := topology.Isolated(files)
				if err == nil && cpus.IsEmpty() {
					return fmt.Errorf("no CPU is isolated: %w", ErrNotSupported)
				}
				return err
			},
		},
		{
			name: "numbers of threads", gives: threadNumbers(), needed: true,
			next: "mount the /proc of this PID namespace",
			try:  func() error { return proc.CheckNumbers(files) },
		},
		{
			name: "clock", gives: clockShown(), needed: true,
			next: "start taskiso from a shell in its time namespace",
			try:  clock.Check,
		},
		{
			name: "open files", gives: "room for what observes one CPU", needed: true,
			next: "raise the limit with ulimit -n",
			try:  func() error { return trace.CheckDescriptors(1) },
		},
		{
			name: "housekeeping CPU", gives: "a place for taskiso itself", needed: true,
			next: "use a machine with two CPUs or more",
			try: func() error {
				cpus, err := topology.Online(files)
				if err == nil && cpus.Len() < 2 {
					return fmt.Errorf("only CPU %v is online: %w", cpus, ErrNotSupported)
				}
				return err
			},
		},
	}
}

// threadNumbers describes the numbers of threads that options take and reports show.
func threadNumbers() string {
	if inside, err := trace.InPIDNamespace(); err == nil && inside {
		return "a PID namespace: threads have the numbers of this one, and those outside are shown as 0"
	}
	return "processes and threads have the numbers that the kernel itself uses"
}

// clockShown names the clock that times are of.
func clockShown() string {
	if ahead := clock.Ahead(); ahead != 0 {
		return fmt.Sprintf("a time namespace: CLOCK_MONOTONIC is %v ahead of the kernel's, which events and reports have", ahead)
	}
	return "times of events are those of CLOCK_MONOTONIC"
}

// tracepoints lists tracepoints as features, those that are there and those that are missing.
func tracepoints() []Feature {
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return nil // another feature has the reason
	}
	var list []Feature
	for _, s := range trace.Attachable(kernel) {
		f := Feature{Name: s.Name, Gives: s.Shows, Answer: answer(s.Err)}
		if s.Err != nil {
			f.Reason = reason(s.Err)
		}
		list = append(list, f)
	}
	return list
}

// CanTrace reports whether everything needed to see kernel entries is there.
func CanTrace(list []Feature) bool {
	for _, f := range list {
		if f.Needed && f.Answer != Yes {
			return false
		}
	}
	return true
}
