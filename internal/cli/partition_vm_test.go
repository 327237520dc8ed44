// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/vmtest"
)

// TestVMPartition boots without isolcpus=: to set CPUs apart is for the partition.
func TestVMPartition(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		Cmdline:  "nohz_full=2,3",
		Programs: map[string]vmtest.Program{guestProgram: taskiso, pollerProgram: inC("poller")},
		Tests:    "^TestGuestPartition",
		Timeout:  20 * time.Minute,
	})
}
