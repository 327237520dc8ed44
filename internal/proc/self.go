// SPDX-License-Identifier: Apache-2.0

package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
)

// CheckNumbers returns an error if /proc calls a thread by another number than this process; it matches
// [errors.ErrUnsupported]. (Children in another namespace than their parent's need no check: the kernel gives such a
// parent no second thread.)
func CheckNumbers(files fs.FS) error {
	self, err := fs.ReadLink(files, "proc/self")
	if errors.Is(err, fs.ErrNotExist) {
		return noNumbers{}
	}
	if err != nil {
		return fmt.Errorf("reading this process's number in /proc: %w", err)
	}
	if self != strconv.Itoa(os.Getpid()) {
		return otherNumbers(self)
	}
	return nil
}

// noNumbers is about a /proc that is not there.
type noNumbers struct{}

func (noNumbers) Error() string {
	return "reading this process's number: there is no /proc/self: mount it (mount -t proc proc /proc)"
}

func (noNumbers) Unwrap() error { return fs.ErrNotExist }

// otherNumbers is the number of this process in a /proc that is not its own.
type otherNumbers string

func (n otherNumbers) Error() string {
	return fmt.Sprintf("/proc is that of another PID namespace, in which this process is %s, not %d: mount it anew (mount -t proc proc /proc, or unshare --mount-proc)", string(n), os.Getpid())
}

func (otherNumbers) Unwrap() error { return errors.ErrUnsupported }
