// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// TaskisoRecord returns a taskiso that records a CPU to a file.
func TaskisoRecord(program string, cpu int) Observer {
	o := Taskiso(program, cpu)
	o.Name, o.File = "taskiso watch --record", "taskiso.rec"
	o.Command = append(o.Command, "--record", o.File)
	return o
}

// Recorders returns peers that record a CPU to a file, for the same events.
func Recorders(cpu int) []Observer {
	trace := traceCmd(cpu, Want{})
	trace.Name, trace.File = "trace-cmd record", "trace.dat"
	trace.List = []string{"trace-cmd", "report", "-i", trace.File}
	return []Observer{trace, perfRecord(cpu)}
}

func perfRecord(cpu int) Observer {
	o := Observer{Name: "perf record", CPU: cpu, File: "perf.data"}
	o.Command = []string{"perf", "record", "-q", "-o", o.File, "-C", fmt.Sprint(cpu), "-c", "1", "-e", strings.Join(events, ",")}
	o.List = []string{"perf", "script", "-i", o.File, "-F", "event,trace"}
	o.Recorded = func(dir string, e Event) (int, error) {
		list := exec.Command("perf", "script", "-i", filepath.Join(dir, o.File), "-F", "event,trace")
		out, err := list.Output()
		if err != nil {
			return 0, fmt.Errorf("reading what perf has recorded: %w", err)
		}
		return e.in(out), nil
	}
	return o
}
