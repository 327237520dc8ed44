// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// maxMounts bounds what is read of the mounts of a process, in bytes: it makes as many as it likes, and the keeper
// must not wait for them.
const maxMounts = 1 << 20

// mount is a line of /proc/PID/mountinfo: proc_pid_mountinfo(5).
type mount struct {
	id, device  string // device: major:minor
	root, point string
	kind        string // of its file system
}

// locate returns the path with which taskiso finds a file that a thread has open, and whether that is known. The thread
// may have opened the file through any mount, in a mount namespace of its own: here the same path is then another file,
// which any user can have made.
func (i inspector) locate(tid int, fd uint64) (name string, known bool) {
	name = i.descriptor(tid, fd)
	id := i.mountID(tid, fd)
	theirs, ok := i.findMount(fmt.Sprintf("proc/%d/mountinfo", tid), func(m mount) bool { return m.id == id })
	if id == "" || !ok || strings.Contains(theirs.root, "..") { // the latter: beyond the root of our cgroup namespace
		return name, false
	}
	rest, ok := below(name, theirs.point)
	if !ok {
		return name, false
	}
	inside := path.Join("/", theirs.root, rest)
	switch theirs.kind {
	case "proc":
		return "/proc" + inside, true
	case "sysfs":
		return "/sys" + inside, true
	}
	ours, ok := i.findMount("proc/self/mountinfo", func(m mount) bool { return m.device == theirs.device && m.root == "/" })
	if !ok {
		return name, false
	}
	return path.Join(ours.point, inside), true
}

// below returns what a path has below a directory, or nothing for the directory itself.
func below(name, dir string) (string, bool) {
	if name == dir {
		return "", true
	}
	return strings.CutPrefix(name, strings.TrimSuffix(dir, "/")+"/")
}

// mountID is the number of the mount through which a descriptor was opened, or nothing.
func (i inspector) mountID(tid int, fd uint64) string {
	text, err := fs.ReadFile(i.files, fmt.Sprintf("proc/%d/fdinfo/%d", tid, uint32(fd)))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if id, ok := strings.CutPrefix(line, "mnt_id:"); ok {
			return strings.TrimSpace(id)
		}
	}
	return ""
}

func (i inspector) findMount(file string, is func(mount) bool) (mount, bool) {
	f, err := i.files.Open(file)
	if err != nil {
		return mount{}, false
	}
	defer f.Close()
	for lines := bufio.NewScanner(io.LimitReader(f, maxMounts)); lines.Scan(); {
		if m, ok := parseMount(lines.Text()); ok && is(m) {
			return m, true
		}
	}
	return mount{}, false
}

func parseMount(line string) (mount, bool) {
	fields := strings.Fields(line)
	dash := slices.Index(fields, "-") // after any number of optional fields
	if dash < 6 || len(fields) < dash+2 {
		return mount{}, false
	}
	return mount{id: fields[0], device: fields[2], root: unescaped(fields[3]), point: unescaped(fields[4]), kind: fields[dash+1]}, true
}

// unescaped turns the octal numbers for blanks and backslashes back into them.
func unescaped(text string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, `\`)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		text = after
		if len(after) < 3 {
			continue
		}
		if n, err := strconv.ParseUint(after[:3], 8, 8); err == nil {
			b.WriteByte(byte(n))
			text = after[3:]
		}
	}
}
