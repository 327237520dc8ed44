// SPDX-License-Identifier: Apache-2.0

//go:build soak

package hold

import (
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/vmtest"
)

// TestVMAllWithoutModule has all tests but the one in which some operations may pass unseen.
func TestVMAllWithoutModule(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		Cmdline: vmtest.Isolated + withoutModule,
		Modules: []string{"dummy"},
		Skip:    "^TestGuest(Storm|NothingUnseen)$",
		Timeout: 4 * time.Minute,
	})
}

// TestVMSoak has the storm of 1,000 operations, kills the keeper 200 times, and loads a
// module 400 times by two threads at once.
func TestVMSoak(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		Cmdline: vmtest.Isolated,
		Modules: []string{"dummy"},
		Env:     []string{soakVariable + "=1"},
		Tests:   "^TestGuest(SameModuleTwice|Storm|KilledKeeper)$",
		Timeout: time.Hour,
	})
}
