// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/vmtest"
	"github.com/taskiso/taskiso/internal/vmtest/debian"
)

// TestVM runs the tests of this package on all kernels, and with them those that
// need a machine of their own. Left out are the tests that need a compiler, a
// filesystem on a disk, or a limit that root in a guest has not.
func TestVM(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		Also:     []string{debian.ARM64},
		Tests:    `^Test(Guest|First|Agrees|KernelMode|FileMapping|Copy|Huge|Ranges|Once|Max|Pause|Major|Dur|Stack|ThreadsCreatedLater|Lost|Mapp|Marks|Count|Unpriv|Notify|PrefaultMem|NoSuch|FileLimit|Userfaultfd)`,
		Programs: map[string]vmtest.Program{compiled: inC("watch"), remote: inC("remote")},
		Modules:  []string{"brd"},
		Nodes:    2,
		Cmdline:  "numa_balancing=disable", // until a test wants it: it makes faults
		Timeout:  20 * time.Minute,
	})
}

// inC is testdata/NAME.c, linked statically.
func inC(name string) vmtest.Program {
	return vmtest.CProgram("testdata/"+name+".c", append(compilerFlags(), "-static")...)
}
