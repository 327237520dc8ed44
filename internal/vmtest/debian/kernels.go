// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// fetchKernels reports whether the newest kernel of each row is there.
func (f *fetcher) fetchKernels(ctx context.Context, failed map[list]error) (fresh bool) {
	m := f.manifest
	fresh = true
	if m.Kernels == nil {
		m.Kernels = map[string]Kernel{}
	}
	m.Missing = map[string]string{}
	for _, row := range Rows() {
		kernel, err := Kernel{}, failed[row.list()]
		if err == nil {
			kernel, err = f.fetchKernel(ctx, row)
		}
		if err == nil {
			m.Kernels[row.Name] = kernel
			continue
		}
		fresh = false
		if old, ok := m.Kernels[row.Name]; ok {
			f.log.Warn("keeping the kernel in the cache", "row", row.Name, "release", old.Release, "reason", err)
			continue
		}
		m.Missing[row.Name] = err.Error()
	}
	maps.DeleteFunc(m.Kernels, func(name string, _ Kernel) bool { _, ok := FindRow(name); return !ok })
	return fresh
}

func (f *fetcher) fetchKernel(ctx context.Context, row Row) (Kernel, error) {
	packages, err := f.states[row.list()].closure(ctx, row.Package)
	if err != nil {
		return Kernel{}, err
	}
	packages = slices.DeleteFunc(packages, func(p Package) bool { return !holdsKernel(p.name()) })
	if len(packages) == 0 {
		return Kernel{}, fmt.Errorf("resolving %s in %s: it depends on no kernel image", row.Package, row.list())
	}
	root, err := f.obtain(ctx, row.list(), "kernel", packages, keepForKernel)
	if err != nil {
		return Kernel{}, err
	}
	kernel, err := locateKernel(f.dir, root)
	if err != nil {
		return Kernel{}, err
	}
	kernel.Row, kernel.Source = row.Name, packages
	return kernel, nil
}

// holdsKernel is true for packages with a version in their name. Until 6.12 linux-image-VERSION has everything; from
// 7.2 on linux-binary-VERSION has the image, linux-modules-VERSION the modules, linux-base-VERSION the configuration.
func holdsKernel(name string) bool {
	for _, prefix := range []string{"linux-image-", "linux-binary-", "linux-modules-", "linux-base-"} {
		rest, ok := strings.CutPrefix(name, prefix)
		if ok && rest != "" && rest[0] >= '0' && rest[0] <= '9' {
			return true
		}
	}
	return false
}

func keepForKernel(name string) bool {
	return strings.HasPrefix(name, "boot/") || strings.Contains(name, "lib/modules/")
}

// locateKernel finds image, configuration and modules, which moved between releases.
func locateKernel(cache, root string) (Kernel, error) {
	modules, err := findOne(cache, root, "lib/modules/*", "usr/lib/modules/*")
	if err != nil {
		return Kernel{}, err
	}
	image, err := findOne(cache, root, "boot/vmlinuz-*", "usr/lib/modules/*/vmlinuz")
	if err != nil {
		return Kernel{}, err
	}
	config, err := findOne(cache, root, "boot/config-*", "usr/lib/modules/*/config")
	if err != nil {
		return Kernel{}, err
	}
	return Kernel{Release: filepath.Base(modules), Image: image, Config: config, Modules: modules}, nil
}

// findOne returns the only path below root that matches one of patterns, relative to the cache.
func findOne(cache, root string, patterns ...string) (string, error) {
	var found []string
	for _, pattern := range patterns {
		matches, err := filepath.Glob(filepath.Join(cache, root, pattern))
		if err != nil {
			return "", err
		}
		found = append(found, matches...)
	}
	if len(found) != 1 {
		return "", fmt.Errorf("looking for %s in %s: want one match, have %q", strings.Join(patterns, " or "), root, found)
	}
	return filepath.Rel(cache, found[0])
}

// root is the directory of this kernel in the cache.
func (k Kernel) root() string {
	parts := strings.SplitN(k.Image, string(os.PathSeparator), 3)
	return filepath.Join(parts[:2]...)
}
