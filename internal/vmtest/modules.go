// SPDX-License-Identifier: Apache-2.0

package vmtest

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// modulesDir has, in a guest, a directory of modules for each kernel.
const modulesDir = "/modules"

// modulesNamed returns files for a guest, so that it can load the kernel modules of these names with LoadModule. One that a
// kernel has not is left out, as all are for a kernel of somebody's own.
func (k kernel) modulesNamed(ctx context.Context, dir string, names []string) (map[string]string, error) {
	files := make(map[string]string)
	if len(names) == 0 || k.modules == "" {
		return files, nil
	}
	err := filepath.WalkDir(k.modules, func(path string, entry fs.DirEntry, err error) error {
		name, packing, isModule := strings.Cut(filepath.Base(path), ".ko")
		if err != nil || entry.IsDir() || !isModule || !slices.Contains(names, name) {
			return err
		}
		if packing != "" {
			path, err = unpacked(ctx, filepath.Join(dir, name+".ko"), path)
		}
		files[filepath.Join(modulesDir, k.release, name+".ko")] = path
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for modules %q: %w", names, err)
	}
	return files, nil
}

// unpacked writes what xz makes of a file to plain, and returns that.
func unpacked(ctx context.Context, plain, path string) (string, error) {
	module, err := exec.CommandContext(ctx, "xz", "-dc", path).Output()
	if err != nil {
		return "", fmt.Errorf("unpacking %s: %w", path, err)
	}
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
