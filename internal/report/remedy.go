// SPDX-License-Identifier: Apache-2.0

package report

import (
	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/cause"
)

// Remedy is what removes a cause on the machine on which it was seen.
type Remedy struct {
	Kind string `json:"kind"` // "runtime", "boot" or "program"
	Do   string `json:"do"`
}

// AddRemedies notes for each cause the first remedy that applies on m.
func (r *Report) AddRemedies(catalogue *cause.Catalogue, m *cause.Machine) {
	for i := range r.CPUs {
		cpu := &r.CPUs[i]
		set, err := cpulist.New(cpu.CPU)
		if err != nil {
			continue // no such CPU can exist, and so no setting of it
		}
		for j := range cpu.Causes {
			if remedy, ok := catalogue.Remedy(cpu.Causes[j].ID, m, set); ok {
				cpu.Causes[j].Remedy = &Remedy{Kind: remedy.Kind, Do: remedy.Do}
			}
		}
	}
}

// String returns the remedy as one line.
func (r *Remedy) String() string {
	return cause.Remedy{Kind: r.Kind}.Where() + ": " + r.Do
}
