// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"os"
	"path/filepath"
	"testing"
)

func TestHoldsKernel(t *testing.T) {
	for name, want := range map[string]bool{
		"linux-image-6.1.0-50-cloud-amd64":         true,
		"linux-binary-7.2.13+deb14-cloud-amd64":    true,
		"linux-modules-7.2.13+deb14-cloud-amd64":   true,
		"linux-base-7.2.13+deb14-cloud-amd64":      true,
		"linux-image-cloud-amd64":                  false,
		"linux-base":                               false,
		"linux-base-cloud-amd64":                   false,
		"linux-binary-unsigned-7.2.13-cloud-amd64": false,
		"linux-image-":                             false,
		"initramfs-tools":                          false,
	} {
		if got := holdsKernel(name); got != want {
			t.Errorf("holdsKernel(%s) is %t", name, got)
		}
	}
}

func TestPackageOf(t *testing.T) {
	for name, want := range map[string][2]string{
		"sid":    {"sid", "linux-image-cloud-amd64"},
		RealTime: {"trixie", "linux-image-rt-amd64"},
	} {
		if suite, metapackage := packageOf(name); suite != want[0] || metapackage != want[1] {
			t.Errorf("%s comes from %s of %s, want %v", name, metapackage, suite, want)
		}
	}
}

func TestLocateKernel(t *testing.T) {
	for release, files := range map[string][]string{
		"6.1.0-50-cloud-amd64": {
			"boot/vmlinuz-6.1.0-50-cloud-amd64", "boot/config-6.1.0-50-cloud-amd64",
			"lib/modules/6.1.0-50-cloud-amd64/modules.order",
		},
		"7.2.13+deb14-cloud-amd64": {
			"usr/lib/modules/7.2.13+deb14-cloud-amd64/vmlinuz", "usr/lib/modules/7.2.13+deb14-cloud-amd64/config",
		},
	} {
		cache := tree(t, "kernel/abc", files)
		got, err := locateKernel(cache, "kernel/abc")
		if err != nil {
			t.Fatal(err)
		}
		if got.Release != release || got.Image != "kernel/abc/"+files[0] || got.Config != "kernel/abc/"+files[1] {
			t.Errorf("locateKernel is %+v", got)
		}
		if got.root() != "kernel/abc" {
			t.Errorf("root is %s", got.root())
		}
	}
}

func TestLocateKernelWantsExactlyOne(t *testing.T) {
	for _, files := range [][]string{
		nil,
		{"boot/vmlinuz-1", "boot/config-1"},
		{"boot/vmlinuz-1", "boot/vmlinuz-2", "boot/config-1", "lib/modules/1/modules.order"},
	} {
		if got, err := locateKernel(tree(t, "k", files), "k"); err == nil {
			t.Errorf("locateKernel of %q is %+v, want an error", files, got)
		}
	}
}

func TestKernelName(t *testing.T) {
	for release, want := range map[string]string{
		"6.12.107+deb13-cloud-amd64": "sid-6.12", "7.2": "sid-7.2", "7": "sid-7", "6.1.0-50-cloud-amd64": "sid-6.1",
	} {
		if got := (Kernel{Suite: "sid", Release: release}).Name(); got != want {
			t.Errorf("name of %s is %s, want %s", release, got, want)
		}
	}
}

// tree makes empty files below root in a new directory.
func tree(t *testing.T, root string, files []string) string {
	t.Helper()
	dir := t.TempDir()
	for _, file := range files {
		path := filepath.Join(dir, root, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
