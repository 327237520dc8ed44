// SPDX-License-Identifier: Apache-2.0

package entries

import (
	"io/fs"
	"runtime"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/topology"
)

// List is how each entry point of one kernel is observed.
type List struct {
	Schema   int         `json:"schema"`
	Kernel   string      `json:"kernel"`
	Arch     string      `json:"arch"`
	CatchAll cpulist.Set `json:"cpus_catch_all"`
	Points   []Point     `json:"entries"`
	Unknown  []string    `json:"unknown"` // symbols that are not in the table
}

// Here returns that of the running kernel. event reports whether a tracepoint can be used.
func Here(files fs.FS, event func(tracepoint string) bool) (*List, error) {
	table, err := Load(runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	kernel, err := Read(files, event)
	if err != nil {
		return nil, err
	}
	l := &List{Schema: 1, Kernel: topology.KernelRelease(), Arch: runtime.GOARCH, CatchAll: kernel.CatchAll, Unknown: []string{}}
	points, unknown := table.On(kernel)
	l.Points = append([]Point{}, points...)
	l.Unknown = append(l.Unknown, unknown...)
	return l, nil
}
