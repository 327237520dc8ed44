// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// initialPIDNamespace is PROC_PID_INIT_INO of include/linux/proc_ns.h: the inode of the namespace in which
// threads have the numbers that the kernel itself uses.
const initialPIDNamespace = 0xEFFFFFFC

// pidNamespace returns the inode of the PID namespace of this process.
func pidNamespace() (uint32, error) {
	var stat unix.Stat_t
	err := unix.Stat("/proc/self/ns/pid", &stat)
	if errors.Is(err, fs.ErrNotExist) { // a kernel without them
		return initialPIDNamespace, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the inode of /proc/self/ns/pid: %w", err)
	}
	return uint32(stat.Ino), nil
}

// setNamespace lets programs call threads what this process calls them.
func setNamespace(spec *ebpf.CollectionSpec) error {
	namespace, err := pidNamespace()
	if err != nil {
		return err
	}
	inside := namespace != initialPIDNamespace
	if inside {
		spec.Maps["numbers"].MaxEntries = spec.Maps["tasks"].MaxEntries
	}
	err = errors.Join(spec.Variables["pid_namespace"].Set(namespace), spec.Variables["in_pid_namespace"].Set(inside))
	if err != nil {
		return fmt.Errorf("setting the PID namespace to %d: %w", namespace, err)
	}
	return nil
}

// InPIDNamespace reports whether this process is in another PID namespace than the initial one.
func InPIDNamespace() (bool, error) {
	inode, err := pidNamespace()
	return inode != initialPIDNamespace, err
}
