// SPDX-License-Identifier: Apache-2.0

// Package claim reserves CPUs for one run of taskiso at a time.
//
// A claim is a lock on a file in a directory that only its owner may write to:
// nobody else can take a CPU from a run, and the lock goes with the process,
// however that ends. With the privileges for it a claim is a mark as well, which
// those see who have another directory.
package claim

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
)

// ErrInUse means that another run has the CPU.
var ErrInUse = errors.New("is using it")

// runDir is root's, and the same in every namespace but for mounts.
const runDir = "/run/taskiso"

// Dir returns where claims of this user are: for root the machine's directory, for
// anybody else the user's own, or "" if there is none.
func Dir() string {
	if os.Geteuid() == 0 {
		return filepath.Join(runDir, "cpus")
	}
	return ownDir()
}

// Own returns the directory of that name in which this user's taskiso finds its other processes, or "" if there is none.
func Own(name string) string {
	dir := runDir
	if os.Geteuid() != 0 {
		dir = ownDir()
	}
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, name)
}

func ownDir() string {
	if own := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(own) {
		return filepath.Join(own, "taskiso")
	}
	return ""
}

// CPUs claims CPUs by locks in a directory, which is made if need be, until the
// returned function is called or the process ends. The error is [ErrInUse] if
// another run has one of them; then none is claimed.
func CPUs(dir string, cpus cpulist.Set) (release func(), err error) {
	if err := Prepare(dir, 0o755); err != nil {
		return nil, fmt.Errorf("reserving CPU %v: %w", cpus, err)
	}
	var locks []*os.File
	release = func() {
		for _, lock := range locks {
			lock.Close()
		}
	}
	for cpu := range cpus.All() {
		lock, err := take(filepath.Join(dir, fmt.Sprintf("cpu%d.lock", cpu)))
		if err != nil {
			release()
			return nil, fmt.Errorf("reserving CPU %d: %w", cpu, err)
		}
		locks = append(locks, lock)
	}
	return release, nil
}

// Prepare makes a directory, and refuses one in which others could take names
// or replace files.
func Prepare(dir string, mode os.FileMode) error {
	if err := os.MkdirAll(dir, mode); err != nil {
		return fmt.Errorf("making a directory of this user's own: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return fmt.Errorf("looking at %s: %w", dir, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return fmt.Errorf("%s must be a directory of user %d that nobody else may write to: remove what is there", dir, os.Geteuid())
	}
	return nil
}

// take locks a file and notes in it who has the lock.
func take(name string) (*os.File, error) {
	lock, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening its lock: %w", err)
	}
	if err := tryLock(lock); err != nil {
		lock.Close()
		return nil, err
	}
	if err := note(lock); err != nil {
		lock.Close()
		return nil, fmt.Errorf("writing the process to its lock: %w", err)
	}
	return lock, nil
}

func tryLock(lock *os.File) error {
	err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		// A process that has just taken the lock may not have noted itself yet.
		owner, _ := io.ReadAll(io.LimitReader(lock, 32))
		return inUse("taskiso process " + cmp.Or(strings.TrimSpace(string(owner)), "that begins"))
	}
	if err != nil {
		return fmt.Errorf("locking %s: %w", lock.Name(), err)
	}
	return nil
}

func inUse(owner string) error {
	return fmt.Errorf("%s %w; name another CPU with -c, or wait until it ends", owner, ErrInUse)
}

func note(lock *os.File) error {
	if err := lock.Truncate(0); err != nil {
		return err
	}
	_, err := fmt.Fprintln(lock, os.Getpid())
	return err
}
