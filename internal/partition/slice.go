// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/taskiso/taskiso/internal/systemd"
)

// Where systemd is the first process, it owns all cgroups, and takes controllers
// that none of its units uses from the root cgroup when it next starts one. So the
// cgroup of a partition is a slice: a unit that uses the controller. What systemd
// does not know of a slice, as the kind of its partition, it leaves alone.

// sliceOf returns the directory of a partition's slice.
func sliceOf(name string) string {
	return path.Join(cgroupRoot, systemd.SliceName("taskiso_"+name))
}

// isSystemd tells whether systemd is there to be asked.
func (h *host) isSystemd() bool { return h.exists(systemd.Socket) }

// sliceTime bounds how long systemd may take for what it was asked.
const sliceTime = 10 * time.Second

// startSlice asks for the slice and waits until its cgroup has the CPUs.
func (c Change) startSlice(files Files) error {
	if err := files.StartSlice(path.Base(c.Path), c.To); err != nil {
		return fmt.Errorf("%w; --partition none does without it", err)
	}
	return c.awaitSlice(files, c.To)
}

// stopSlice ends it, unless something runs in it, which systemd would end too.
func (c Change) stopSlice(files Files) error {
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
	return c.awaitSlice(files, "")
}

// awaitSlice waits until the slice has the CPUs, or none because it is gone.
func (c Change) awaitSlice(files Files, want string) error {
	for deadline := time.Now().Add(sliceTime); ; time.Sleep(20 * time.Millisecond) {
		got, err := c.read(files)
		if err == nil && c.Form.same(got, want) {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("systemd has not done in %v what it was asked: %s has CPU %q, want %q", sliceTime, c.Path, got, want), err)
		}
	}
}

// readSlice returns the CPUs of a slice, none if there is no slice.
func (c Change) readSlice(files Files) (string, error) {
	text, err := files.Read(c.Path + "/cpuset.cpus")
	return text, notGone(err)
}

// cgroupOfChanges returns the cgroup that changes make, "" if they make none.
func cgroupOfChanges(changes []Change) string {
	for _, c := range changes {
		if (c.Form == Directory || c.Form == Slice) && path.Dir(c.Path) == cgroupRoot {
			return c.Path
		}
	}
	return ""
}
