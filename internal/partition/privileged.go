// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// errNotRoot names what is missing, before anything is tried.
var errNotRoot = errors.New("partitions are made, verified and undone by root: run it with sudo")

// errUserNamespace is about a root who has the rights of the real one for some settings and not for others, and who may
// take the machine for a sandbox.
var errUserNamespace = errors.New("partitions are made, verified and undone outside of user namespaces, and this is one: its root is not the machine's, although some settings would be changed; run it from a shell of the machine itself, or with \"nsenter --user --target 1\"")

// Privileged returns an error if this process is not the one to change settings of the machine.
func Privileged() error {
	if os.Geteuid() != 0 {
		return errNotRoot
	}
	var stat unix.Stat_t
	err := unix.Stat("/proc/self/ns/user", &stat)
	if errors.Is(err, fs.ErrNotExist) { // a kernel without them
		return nil
	}
	if err != nil {
		return fmt.Errorf("finding out whether this is a user namespace: reading the inode of /proc/self/ns/user: %w", err)
	}
	if stat.Ino != initialUserNamespace {
		return errUserNamespace
	}
	return nil
}

// initialUserNamespace is PROC_USER_INIT_INO of include/linux/proc_ns.h. The map of users does not show which namespace is
// the initial one: another one can have the same.
const initialUserNamespace = 0xEFFFFFFD
