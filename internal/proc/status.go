// SPDX-License-Identifier: Apache-2.0

package proc

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// Status is the text of the file "status": proc_pid_status(5).
type Status string

// ReadStatus reads the file of a process or thread.
func ReadStatus(files fs.FS, dir string) (Status, error) {
	text, err := read(files, dir, "status")
	return Status(text), err
}

// Value returns the text behind a name and its colon, "" if the name is not there.
func (s Status) Value(name string) string {
	for line := range strings.Lines(string(s)) {
		if value, found := strings.CutPrefix(line, name+":"); found {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// Number returns a number, in units of its own such as kB; 0 if there is none.
func (s Status) Number(name string) int64 {
	digits, _, _ := strings.Cut(s.Value(name), " ")
	n, _ := strconv.ParseInt(digits, 10, 64)
	return n
}

// Mask returns a set of signals or capabilities.
func (s Status) Mask(name string) (uint64, error) {
	mask, err := strconv.ParseUint(s.Value(name), 16, 64)
	if err != nil {
		return 0, fmt.Errorf("reading %s of a task: %q is not a mask", name, s.Value(name))
	}
	return mask, nil
}
