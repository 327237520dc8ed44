// SPDX-License-Identifier: Apache-2.0

package initramfs

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// libraryDir is where libraries go in the guest. Dynamic loaders look here without a cache file.
const libraryDir = "usr/lib"

// mergeLibraries makes all directories that loaders know one, as most distributions do.
func (w *Writer) mergeLibraries() error {
	return errors.Join(w.Symlink("lib", "usr/lib"), w.Symlink("lib64", "usr/lib"), w.Symlink("usr/lib64", "lib"))
}

// libraries adds what the program at host needs to be loaded: its dynamic loader and shared libraries, down to the
// last. It adds nothing if host is no dynamically linked program. Libraries that a program loads by name while it runs
// are not found.
func (w *Writer) libraries(ctx context.Context, host string) error {
	loader, err := interpreter(host)
	if err != nil || loader == "" {
		return err
	}
	// The loader itself knows best what it would load. It runs no code of the program for that.
	out, err := exec.CommandContext(ctx, loader, "--list", host).Output()
	if err != nil {
		return fmt.Errorf("listing libraries of %s: %w", host, err)
	}
	found, err := parseLibraries(string(out))
	if err != nil {
		return fmt.Errorf("listing libraries of %s: %w", host, err)
	}
	found[filepath.Base(loader)] = loader
	for name, path := range found {
		if w.written[libraryDir+"/"+name] {
			continue
		}
		if err := w.plainFile(libraryDir+"/"+name, path); err != nil {
			return err
		}
	}
	return nil
}

// interpreter returns the dynamic loader a program asks for, empty if it needs none or is no ELF file.
func interpreter(path string) (string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return "", nil //nolint:nilerr // scripts and data are files as well
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		name := make([]byte, p.Filesz)
		if _, err := p.ReadAt(name, 0); err != nil {
			return "", fmt.Errorf("reading the interpreter of %s: %w", path, err)
		}
		return strings.TrimRight(string(name), "\x00"), nil
	}
	return "", nil
}

// parseLibraries reads lines as "libc.so.6 => /lib/libc.so.6 (0x7f…)". Others name the vDSO or the loader.
func parseLibraries(list string) (map[string]string, error) {
	found := map[string]string{}
	for line := range strings.Lines(list) {
		name, path, ok := strings.Cut(strings.TrimSpace(line), " => ")
		if !ok {
			continue
		}
		path, _, _ = strings.Cut(path, " (0x")
		if !filepath.IsAbs(path) {
			return nil, fmt.Errorf("%s: %s", name, path)
		}
		found[filepath.Base(name)] = path
	}
	return found, nil
}
