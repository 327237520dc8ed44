// SPDX-License-Identifier: Apache-2.0

package change

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"
)

// Slice is a cgroup of systemd's, with a CPU list; it is made, and stopped by undo.
type Slice struct{ List }

// MarshalText returns the name in journals.
func (Slice) MarshalText() ([]byte, error) { return []byte("slice"), nil }

func (Slice) traits() traits { return traits{makesDirectory: true, delegated: true} }

// read returns the CPUs of a slice, none if the slice does not exist.
func (Slice) read(files Files, c Change) (string, error) {
	text, err := files.Read(c.Path + "/cpuset.cpus")
	return text, notGone(err)
}

// apply asks for the slice and waits until its cgroup has the CPUs.
func (k Slice) apply(files Files, c Change) error {
	if err := files.StartSlice(path.Base(c.Path), c.To); err != nil {
		return fmt.Errorf("%w; --partition none does without it", err)
	}
	return k.await(files, c, c.To)
}

// restore ends it, unless something runs in it, which systemd would end too.
func (k Slice) restore(files Files, c Change) error {
	events, err := files.Read(c.Path + "/cgroup.events")
	if err == nil && strings.Contains(events, "populated 1") {
		return fmt.Errorf("%s: %w: see \"systemctl status '%s'\"; end them or move them away", c.Path, ErrBusy, path.Base(c.Path))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := notGone(files.StopSlice(path.Base(c.Path))); err != nil {
		return err
	}
	return k.await(files, c, "")
}

// sliceTime bounds how long systemd may take for a request.
const sliceTime = 10 * time.Second

// await waits until the slice has the CPUs, or none because it is gone.
func (k Slice) await(files Files, c Change, want string) error {
	for deadline := time.Now().Add(sliceTime); ; time.Sleep(20 * time.Millisecond) {
		got, err := k.read(files, c)
		if err == nil && k.same(got, want) {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("systemd has not done in %v what it was asked: %s has CPU %q, want %q", sliceTime, c.Path, got, want), err)
		}
	}
}

func (Slice) describe(c Change) string {
	return fmt.Sprintf("%s: made by systemd, with AllowedCPUs=%s", c.Path, c.To)
}
