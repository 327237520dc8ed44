// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/partition/change"
)

// A journal is a file of JSON lines: a header, then each change before it is
// made, then that all were made. Every line is stored before what it announces
// begins, so that no change is ever made that the journal does not know.
//
// To undo begins with cutting off the line that all were made: that needs no
// space, which a full file system does not have.

// header is the first line.
type header struct {
	Schema    int         `json:"schema"`
	BootID    string      `json:"boot_id"` // settings do not outlive a boot
	Name      string      `json:"name"`
	CPUs      cpulist.Set `json:"cpus"`
	Partition string      `json:"partition"`
	Spec      Spec        `json:"spec"`
	// Temporary partitions end with the process that made them, which has a lock
	// on the journal. Tasks that still run in one then move to the cgroup Home.
	Temporary bool   `json:"temporary,omitempty"`
	Home      string `json:"home,omitempty"`
}

// line is each further line; one of its fields is set.
type line struct {
	Change   *change.Change `json:"change,omitempty"`
	Refused  bool           `json:"refused,omitempty"` // the kernel would not have the last change
	Complete bool           `json:"complete,omitempty"`
}

// journal is what is in a file.
type journal struct {
	header
	changes  []change.Change // in the order they were begun
	refused  []string        // paths of changes that the kernel would not have
	complete bool            // all were made
	size     int64           // without the line that marks it complete
}

// syncedFile is what is needed of a journal's file.
type syncedFile interface {
	io.WriteCloser
	Sync() error
}

// appendJSON writes one line and waits until it is stored.
func appendJSON(f syncedFile, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if _, err := f.Write(append(text, '\n')); err != nil {
		return err
	}
	return f.Sync()
}

var errNoHeader = errors.New("it ends before anything was changed")

// parseJournal reads a journal. A piece after the last newline was being written
// when its writer died, and announces something that was not begun.
func parseJournal(text []byte) (*journal, error) {
	end := bytes.LastIndexByte(text, '\n')
	if end < 0 {
		return nil, errNoHeader
	}
	lines := bytes.Split(text[:end], []byte("\n"))
	j := &journal{}
	if err := json.Unmarshal(lines[0], &j.header); err != nil {
		return nil, fmt.Errorf("line 1: %w", err)
	}
	j.size = int64(len(lines[0]) + 1)
	for i, text := range lines[1:] {
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+2, err)
		}
		if l.Complete {
			j.complete = true
			return j, nil
		}
		if l.Change != nil {
			j.changes = append(j.changes, *l.Change)
		}
		if l.Refused && len(j.changes) > 0 {
			last := j.changes[len(j.changes)-1]
			j.refused = append(j.refused, last.Path)
			if path.Base(last.Path) == partitionFile {
				j.Partition = None
			}
		}
		j.size += int64(len(text) + 1)
	}
	return j, nil
}

// leftToBalancer reports whether a value is one that irqbalance chose, which spares
// the CPUs since it was asked to: such a value is not foreign.
func (j *journal) leftToBalancer(c change.Change, got string) bool {
	return slices.ContainsFunc(j.changes, func(asked change.Change) bool { return asked.Governs(c, got, j.CPUs) })
}
