// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"maps"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/vmtest"
)

// TestVM runs the tests of this package on all kernels, and with them those that
// need a machine of their own. Left out are the tests that need a compiler, a
// filesystem on a disk, or a limit that root in a guest has not.
func TestVM(t *testing.T) {
	files := map[string]string{compiled: compile(t, "watch", "-O2", "-static"), remote: compile(t, "remote", "-O2", "-static")}
	maps.Copy(files, vmtest.Modules(t, "brd"))
	vmtest.Run(t, vmtest.Config{
		Tests:   `^Test(Guest|First|Agrees|KernelMode|FileMapping|Copy|Huge|Ranges|Once|Max|Pause|Major|Dur|Stack|ThreadsCreatedLater|Lost|Mapp|Marks|Count|Unpriv|Notify|PrefaultMem|NoSuch|FileLimit|Userfaultfd)`,
		Files:   files,
		Nodes:   2,
		Cmdline: "numa_balancing=disable", // until a test wants it: it makes faults
		Timeout: 4 * time.Minute,
	})
}
