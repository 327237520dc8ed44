// SPDX-License-Identifier: Apache-2.0

//go:build soak

package cli

import (
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/vmtest"
)

// TestVMProvocations takes minutes on each kernel and is part of make soak.
func TestVMProvocations(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		Cmdline: vmtest.Isolated,
		Files:   map[string]string{guestProgram: buildProgram(t)},
		Tests:   "^TestGuestProvocations$",
		Timeout: 10 * time.Minute,
	})
}
