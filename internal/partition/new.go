// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"cmp"
	"errors"
	"io/fs"

	"github.com/taskiso/taskiso/cpulist"
)

// New plans spec for the machine with these files. It only reads. A setting
// that the machine lacks, or that cannot be read, is in the plan; it is an error
// that matches [ErrRequired] only if the spec requires it. The plan is valid
// then, too.
func New(spec Spec, files fs.FS) (*Plan, error) { return newBeside(spec, files, cpulist.Set{}) }

// newBeside plans a partition beside others, which have the CPUs taken.
func newBeside(spec Spec, files fs.FS, taken cpulist.Set) (*Plan, error) {
	spec, err := spec.complete()
	if err != nil {
		return nil, err
	}
	h, err := readHost(spec, files, taken)
	if err != nil {
		return nil, err
	}
	p := &Plan{
		Schema: 1, Name: spec.Name, CPUs: h.cpus, Housekeeping: h.housekeeping,
		Profile: spec.Profile, Partition: spec.Partition, Settings: settings(h),
	}
	if err := cmp.Or(refuseOwned(p, files), p.writable()); err != nil {
		p.refuse(err)
	}
	p.Warnings = warningsOf(h, errors.Is(p.refusal, ErrOwned))
	for _, s := range p.Settings {
		if s.Short != "" {
			p.Warnings = append(p.Warnings, s.Short)
		}
	}
	return p, p.missing(spec)
}
