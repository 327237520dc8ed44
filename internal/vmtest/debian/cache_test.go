// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestLoadWithoutSetup(t *testing.T) {
	if _, err := Load(t.TempDir()); !errors.Is(err, ErrNotSetUp) {
		t.Errorf("error is %v, want %v", err, ErrNotSetUp)
	}
}

func TestManifestSurvives(t *testing.T) {
	dir := t.TempDir()
	m := &Manifest{dir: dir, QEMU: &QEMU{Root: "qemu/1"}, Kernels: map[string]Kernel{"sid": {Release: "7.2.13"}}}
	if err := m.save(); err != nil {
		t.Fatal(err)
	}
	got, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got.Kernels["sid"].Name() != "sid-7.2" || got.Path(got.QEMU.Root) != filepath.Join(dir, "qemu/1") {
		t.Errorf("manifest is %+v", got)
	}
}

func TestCompleteManifest(t *testing.T) {
	m := &Manifest{
		dir: tree(t, "", []string{"q/usr/bin/qemu-system-x86_64", "k/image", "d/x"}), QEMU: &QEMU{Root: "q"},
		Kernels: map[string]Kernel{}, Daemons: map[string]Daemons{},
	}
	for _, row := range Rows() {
		if m.complete() {
			t.Errorf("complete without %s", row.Name)
		}
		m.Kernels[row.Name] = Kernel{Image: "k/image"}
	}
	for _, suite := range Suites() {
		if m.complete() {
			t.Errorf("complete without the daemons of %s", suite)
		}
		m.Daemons[suite] = Daemons{Root: "d"}
	}
	if m.complete() {
		t.Error("complete without the emulator of arm64")
	}
	if err := os.WriteFile(m.Path("q/usr/bin/qemu-system-aarch64"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if !m.complete() {
		t.Error("not complete with all kernels")
	}
	if err := os.Remove(m.Path("k/image")); err != nil {
		t.Fatal(err)
	}
	if m.complete() {
		t.Error("complete though somebody has removed a kernel")
	}
}

func TestLockExcludes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "lock")
	unlock, err := Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := TryLock(path); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("a second lock gives %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := Lock(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for a lock gives %v", err)
	}
	unlock()
	unlock, err = TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}
