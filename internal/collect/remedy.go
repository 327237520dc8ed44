// SPDX-License-Identifier: Apache-2.0

package collect

import (
	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/cause"
	"github.com/taskiso/taskiso/internal/report"
)

// AddRemedies notes in r, for each cause, the first remedy that applies on m.
func AddRemedies(r *report.Report, catalogue *cause.Catalogue, m *cause.Machine) {
	for i := range r.CPUs {
		cpu := &r.CPUs[i]
		set, err := cpulist.New(cpu.CPU)
		if err != nil {
			continue // no such CPU can exist, and so no setting of it
		}
		for j := range cpu.Causes {
			if remedy, ok := catalogue.Remedy(cpu.Causes[j].ID, m, set); ok {
				cpu.Causes[j].Remedy = &report.Remedy{Kind: remedy.Kind, Do: remedy.Do}
			}
		}
	}
}

// Unnamed returns how many breaks in r no event named.
func Unnamed(r *report.Report) uint64 {
	var n uint64
	for _, cpu := range r.CPUs {
		for _, c := range cpu.Causes {
			if c.ID == cause.Unnamed {
				n += c.Count
			}
		}
	}
	return n
}
