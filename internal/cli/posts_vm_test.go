// SPDX-License-Identifier: Apache-2.0

//go:build soak

package cli

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/vmtest"
)

// TestVMPosts is that package deferral interrupts nobody; part of make soak.
func TestVMPosts(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		Cmdline: vmtest.Isolated,
		Files:   map[string]string{guestProgram: buildProgram(t), postsProgram: buildPosts(t)},
		Tests:   "^TestGuestPosts",
		Timeout: 5 * time.Minute,
	})
}

func buildPosts(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "posts")
	gcc := exec.Command("gcc", "-std=gnu11", "-Wall", "-O2", "-pthread", "-I../../include", "-o", path, "testdata/posts.c")
	if out, err := gcc.CombinedOutput(); err != nil {
		t.Fatalf("compiling testdata/posts.c: %v\n%s", err, out)
	}
	return path
}
