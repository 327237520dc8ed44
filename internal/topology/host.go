// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"runtime"

	"github.com/taskiso/taskiso/cpulist"
)

// Host is what reports record of the machine: a contract, described by docs/report.schema.json and docs/noise.schema.json.
type Host struct {
	Kernel   string      `json:"kernel"`
	Arch     string      `json:"arch"`
	Online   cpulist.Set `json:"cpus_online"`
	Isolated cpulist.Set `json:"cpus_isolated"`
	NohzFull cpulist.Set `json:"cpus_nohz_full"`
}

// Host returns what reports record of this machine and its kernel.
func (m Machine) Host() Host {
	return Host{Kernel: KernelRelease(), Arch: runtime.GOARCH, Online: m.Online, Isolated: m.Isolated, NohzFull: m.NohzFull}
}
