// SPDX-License-Identifier: Apache-2.0

package clock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// initialTimeNamespace is PROC_TIME_INIT_INO of include/linux/proc_ns.h, as the link of a process in
// the namespace whose clocks are the kernel's own.
const initialTimeNamespace = "time:[4026531834]"

// Offsets are by how much the clocks of a time namespace are ahead of the kernel's.
type Offsets struct{ Monotonic, Boottime time.Duration }

// ofThisProcess are those of this process: exec alone changes them.
var ofThisProcess = sync.OnceValues(func() (Offsets, error) { return read(os.DirFS("/")) })

// Ahead returns by how much CLOCK_MONOTONIC of this process is ahead of the kernel's. 0 if that is not
// known: see [Check].
func Ahead() time.Duration {
	offsets, _ := ofThisProcess()
	return offsets.Monotonic
}

// BoottimeAhead is Ahead for CLOCK_BOOTTIME, which the starts of threads in /proc are of.
func BoottimeAhead() time.Duration {
	offsets, _ := ofThisProcess()
	return offsets.Boottime
}

// Check returns an error if this process is in a time namespace whose offsets are not known.
func Check() error {
	_, err := ofThisProcess()
	return err
}

// read finds the offsets of the process that reads. timens_offsets shows those of the namespace that children of a process get,
// which is its own unless it has called unshare(2) or setns(2) since it began (timens_for_children_get() of kernel/time/namespace.c).
func read(files fs.FS) (Offsets, error) {
	own, err := fs.ReadLink(files, "proc/self/ns/time")
	if errors.Is(err, fs.ErrNotExist) || own == initialTimeNamespace { // the former: a kernel without them
		return Offsets{}, nil
	}
	if err != nil {
		return Offsets{}, fmt.Errorf("reading the time namespace of this process: %w", err)
	}
	children, err := fs.ReadLink(files, "proc/self/ns/time_for_children")
	if err != nil {
		return Offsets{}, fmt.Errorf("reading the time namespace of children: %w", err)
	}
	if children != own {
		return Offsets{}, fmt.Errorf("this process is in %s, and the kernel shows the offsets of its children's %s only: start taskiso from a shell in its time namespace", own, children)
	}
	text, err := fs.ReadFile(files, "proc/self/timens_offsets")
	if err != nil {
		return Offsets{}, fmt.Errorf("reading the offsets of the time namespace: %w", err)
	}
	return parse(string(text))
}

// parse reads lines such as "monotonic        86400         0": seconds and nanoseconds, of which the latter are never negative.
func parse(text string) (Offsets, error) {
	var o Offsets
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			return Offsets{}, fmt.Errorf("parsing %q of /proc/self/timens_offsets: %d fields, not 3", line, len(fields))
		}
		seconds, err := strconv.ParseInt(fields[1], 10, 64)
		nanoseconds, err2 := strconv.ParseInt(fields[2], 10, 64)
		if err != nil || err2 != nil {
			return Offsets{}, fmt.Errorf("parsing %q of /proc/self/timens_offsets: not two numbers", line)
		}
		offset := time.Duration(seconds)*time.Second + time.Duration(nanoseconds)
		switch fields[0] {
		case "monotonic":
			o.Monotonic = offset
		case "boottime":
			o.Boottime = offset
		}
	}
	return o, nil
}
