// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

func TestRows(t *testing.T) {
	names := map[string]bool{}
	for _, row := range Rows() {
		if found, ok := FindRow(row.Name); !ok || found != row {
			t.Errorf("looking for row %s finds %+v", row.Name, found)
		}
		if names[row.Name] {
			t.Errorf("two rows are named %s", row.Name)
		}
		names[row.Name] = true
		if !strings.HasSuffix(row.Package, "-"+row.Arch) || !slices.Contains(Suites(), row.Suite) {
			t.Errorf("row %+v: its package is for another architecture, or its suite is none of %v", row, Suites())
		}
		if !slices.Contains(lists(), row.list()) {
			t.Errorf("the package list of row %s is not read", row.Name)
		}
	}
	for _, suite := range Suites() {
		if row, ok := FindRow(suite); !ok || row.Suite != suite || row.Arch != hostArch {
			t.Errorf("row %s is %+v", suite, row)
		}
	}
	if row, ok := FindRow("vax"); ok {
		t.Errorf("there is a row %+v", row)
	}
}

// State of the architecture that everything was for at first stays where it was.
func TestListNames(t *testing.T) {
	for want, l := range map[string]list{"sid": {"sid", "amd64"}, "sid-arm64": {"sid", "arm64"}} {
		if got := l.String(); got != want {
			t.Errorf("%+v is named %s, want %s", l, got, want)
		}
	}
}

// A row that the archive does not give keeps the kernel it had, and one that has none is named with the reason.
func TestUnreachableRows(t *testing.T) {
	m := &Manifest{dir: t.TempDir(), Kernels: map[string]Kernel{RealTime: {Release: "6.12.1"}, "vax": {Release: "1"}}}
	f := fetcher{dir: m.dir, manifest: m, log: slog.New(slog.DiscardHandler)}
	failed := map[list]error{}
	for _, l := range lists() {
		failed[l] = errors.New("no route to " + l.String())
	}
	if f.fetchKernels(t.Context(), failed) {
		t.Error("all kernels are the newest though no list could be read")
	}
	if len(m.Kernels) != 1 || m.Kernels[RealTime].Release != "6.12.1" {
		t.Errorf("kernels are %+v, want that of rt", m.Kernels)
	}
	err := m.Incomplete()
	if err == nil {
		t.Fatal("nothing is missing")
	}
	for _, row := range Rows() {
		want := "row " + row.Name + " (" + row.Package + ", release " + row.Suite + "): no route to " + row.list().String()
		if strings.Contains(err.Error(), want) == (row.Name == RealTime) {
			t.Errorf("for row %s the error is:\n%v", row.Name, err)
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
		if got := (Kernel{Row: "sid", Release: release}).Name(); got != want {
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
