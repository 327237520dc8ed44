// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/abi"
)

// Offsets in struct seccomp_data of include/uapi/linux/seccomp.h. The option is
// an int: the low half of the first argument, on a little-endian machine.
const (
	dataNr     = 0
	dataArch   = 4
	dataOption = 16
)

// auditArch is the architecture whose calls are answered. A program of another
// one that the kernel also runs (32-bit) gets the kernel's own answers.
func auditArch() (uint32, error) {
	switch runtime.GOARCH {
	case "amd64":
		return unix.AUDIT_ARCH_X86_64, nil
	case "arm64":
		return unix.AUDIT_ARCH_AARCH64, nil
	}
	return 0, fmt.Errorf("answering prctl on %s: %w", runtime.GOARCH, unix.ENOTSUP)
}

// filter passes prctl(48) and prctl(49) to the listener and lets everything else
// go on. The kernel remembers which system calls are always allowed (commit
// f94ac9ab73a4), so that all but prctl cost next to nothing.
func filter(arch uint32) []unix.SockFilter {
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	unless := func(k uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: k, Jf: skip}
	}
	when := func(k uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: k, Jt: skip}
	}
	answer := func(action uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
	}
	return []unix.SockFilter{
		load(dataArch),
		unless(arch, 5),
		load(dataNr),
		unless(unix.SYS_PRCTL, 3), // an x32 call has another number
		load(dataOption),
		when(abi.SetTaskIsolation, 2),
		when(abi.GetTaskIsolation, 1),
		answer(unix.SECCOMP_RET_ALLOW),
		answer(unix.SECCOMP_RET_USER_NOTIF),
	}
}

// Install lets prctl's task isolation calls of the calling thread, and of all that
// it will start, be answered through the descriptor that it returns, which is
// closed on exec. It cannot be undone. It needs CAP_SYS_ADMIN, or
// PR_SET_NO_NEW_PRIVS, which it does not set: programs may be set-user-ID.
//
// Once nobody has the other end of the descriptor any more, the calls fail with ENOSYS.
func Install() (listener int, err error) {
	arch, err := auditArch()
	if err != nil {
		return -1, err
	}
	code := filter(arch)
	program := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	fd, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return -1, fmt.Errorf("installing the filter that passes on prctl(%d): %w", abi.SetTaskIsolation, errno)
	}
	return int(fd), nil
}

// CanInstall reports whether Install would work, as far as that shows without doing
// it. A kernel without seccomp filters that ask gives [errors.ErrUnsupported].
func CanInstall() error {
	if _, err := auditArch(); err != nil {
		return err
	}
	action := uint32(unix.SECCOMP_RET_USER_NOTIF)
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	if errno == unix.EOPNOTSUPP || errno == unix.ENOSYS {
		return fmt.Errorf("this kernel cannot pass system calls on to another process: %w", errors.ErrUnsupported)
	} else if errno != 0 {
		return fmt.Errorf("asking seccomp what it can do: %w", errno)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("reading the capabilities: %w", err)
	}
	if data[0].Effective&(1<<unix.CAP_SYS_ADMIN) == 0 {
		return fmt.Errorf("this process lacks CAP_SYS_ADMIN: %w", unix.EPERM)
	}
	return nil
}
