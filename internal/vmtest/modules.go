// SPDX-License-Identifier: Apache-2.0

package vmtest

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/vmtest/debian"
)

// modulesDir has, in a guest, a directory of modules for each kernel.
const modulesDir = "/modules"

// Modules returns files for [Config.Files], so that guests can load the kernel modules of these names with LoadModule.
// A kernel of somebody's own brings none.
func Modules(t *testing.T, names ...string) map[string]string {
	t.Helper()
	cache, err := debian.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	err = filepath.WalkDir(filepath.Join(cache, "kernel"), func(path string, entry fs.DirEntry, err error) error {
		name, packing, isModule := strings.Cut(filepath.Base(path), ".ko")
		if err != nil || entry.IsDir() || !isModule || !slices.Contains(names, name) {
			return err
		}
		_, release, _ := strings.Cut(path, "/modules/")
		release, _, _ = strings.Cut(release, "/")
		if packing != "" {
			path, err = unpacked(t, path)
		}
		files[filepath.Join(modulesDir, release, name+".ko")] = path
		return err
	})
	if err != nil {
		t.Fatalf("looking for modules %q: %v", names, err)
	}
	return files
}

// unpacked returns what xz makes of a file.
func unpacked(t *testing.T, path string) (string, error) {
	module, err := exec.Command("xz", "-dc", path).Output()
	if err != nil {
		return "", fmt.Errorf("unpacking %s: %w", path, err)
	}
	plain := filepath.Join(t.TempDir(), "module.ko")
	return plain, os.WriteFile(plain, module, 0o600)
}

// LoadModule loads a module in a guest, with parameters as modprobe takes them.
func LoadModule(name, parameters string) error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return fmt.Errorf("asking for the kernel's release: %w", err)
	}
	f, err := os.Open(filepath.Join(modulesDir, unix.ByteSliceToString(u.Release[:]), name+".ko"))
	if err != nil {
		return fmt.Errorf("loading module %s: %w", name, err)
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), parameters, 0); err != nil {
		return fmt.Errorf("loading module %s: %w", name, err)
	}
	return nil
}
