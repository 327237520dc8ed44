// SPDX-License-Identifier: Apache-2.0

//go:build soak

package cli

import (
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/vmtest"
)

// TestVMPosts is that package deferral interrupts nobody; part of make soak.
func TestVMPosts(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		Cmdline:  vmtest.Isolated,
		Programs: map[string]vmtest.Program{guestProgram: taskiso, postsProgram: inC("posts")},
		Tests:    "^TestGuestPosts",
		Timeout:  20 * time.Minute,
	})
}
