// SPDX-License-Identifier: Apache-2.0

package vmtest

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/taskiso/taskiso/internal/vmtest/debian"
)

func TestSupplyOfAnEmptyCache(t *testing.T) {
	emptyCache(t)
	if _, err := findSupply(debian.Suites()); !errors.Is(err, debian.ErrNotSetUp) {
		t.Errorf("error is %v, want %v", err, debian.ErrNotSetUp)
	}
}

func TestOwnKernelAndQEMUNeedNoCache(t *testing.T) {
	emptyCache(t)
	t.Setenv(KernelVariable, "/src/linux/bzImage")
	t.Setenv(QEMUVariable, "/opt/qemu")
	got, err := findSupply(debian.Suites())
	if err != nil || len(got.kernels) != 1 || got.kernels[0].image != "/src/linux/bzImage" || got.qemu["amd64"][0] != "/opt/qemu" {
		t.Errorf("supply is %+v, %v", got, err)
	}
	if got.kernels[0].release != "" {
		t.Errorf("the release of an own kernel is known: %s", got.kernels[0].release)
	}
}

func TestMissingKernelIsNamed(t *testing.T) {
	cache := emptyCache(t)
	manifest := `{"Kernels":{"trixie":{"Release":"6.12.1","Image":"kernel/a/vmlinuz"}},"Missing":{"sid":"no key"},"QEMU":{"Root":"qemu/b"}}`
	if err := os.WriteFile(filepath.Join(cache, "manifest.json"), []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := findSupply([]string{"trixie", "sid"})
	if err != nil {
		t.Fatal(err)
	}
	if k := got.kernels[0]; k.image != cache+"/kernel/a/vmlinuz" || k.missing != "" {
		t.Errorf("kernel is %+v", k)
	}
	if k := got.kernels[1]; k.name != "sid" || !strings.Contains(k.missing, "no key") {
		t.Errorf("kernel is %+v", k)
	}
}

func TestRowsOfTwoArchitectures(t *testing.T) {
	cache := emptyCache(t)
	manifest := `{"Kernels":{"rt":{"Release":"6.12.1","Image":"kernel/a/vmlinuz"},"arm64":{"Release":"6.12.2","Image":"kernel/b/vmlinuz","Modules":"kernel/b/modules"}},
		"QEMU":{"Root":"qemu/b"},"DaemonsBySuite":{"trixie":{"Root":"daemons/c"}}}`
	if err := os.WriteFile(filepath.Join(cache, "manifest.json"), []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := findSupply([]string{debian.RealTime, debian.ARM64, debian.ARM64Sid})
	if err != nil {
		t.Fatal(err)
	}
	for arch, emulator := range map[string]string{"amd64": "qemu-system-x86_64", "arm64": "qemu-system-aarch64"} {
		if !slices.Contains(got.qemu[arch], cache+"/qemu/b/usr/bin/"+emulator) {
			t.Errorf("guests of %s run in %q", arch, got.qemu[arch])
		}
	}
	if k := got.kernels[0]; k.name != "rt-6.12" || k.arch != "amd64" || k.daemons != cache+"/daemons/c" {
		t.Errorf("kernel is %+v", k)
	}
	if k := got.kernels[1]; k.name != "arm64-6.12" || k.arch != "arm64" || k.daemons != "" || k.modules != cache+"/kernel/b/modules" {
		t.Errorf("kernel is %+v", k)
	}
	if k := got.kernels[2]; k.name != debian.ARM64Sid || !strings.Contains(k.missing, "run it again") {
		t.Errorf("a kernel that vmsetup did not know of is %+v", k)
	}
	if _, err := findSupply([]string{"vax"}); err == nil || !strings.Contains(err.Error(), `no such row`) {
		t.Errorf("a row that is none gives %v", err)
	}
}

func TestRowsAreChosen(t *testing.T) {
	for _, test := range []struct {
		config Config
		chosen string
		want   []string
	}{
		{Config{}, "", debian.Suites()},
		{Config{Also: []string{"rt"}}, "", append(debian.Suites(), "rt")},
		{Config{Kernels: []string{"trixie"}, Also: []string{"rt"}}, "", []string{"trixie", "rt"}},
		{Config{}, "rt,arm64", []string{"rt", "arm64"}},
		{Config{Kernels: []string{"trixie"}}, "rt,trixie", []string{"trixie"}},
		{Config{Kernels: []string{"trixie"}}, "rt", nil},
	} {
		t.Setenv(RowsVariable, test.chosen)
		if got := test.config.rows(); !slices.Equal(got, test.want) {
			t.Errorf("with %s=%q rows of %+v are %q, want %q", RowsVariable, test.chosen, test.config, got, test.want)
		}
	}
}

func TestForeignProgramIsRefused(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	if err := foreign(self, other); err == nil || !strings.Contains(err.Error(), "for a guest of "+other) {
		t.Errorf("a program of this machine for a guest of %s gives %v", other, err)
	}
	for _, path := range []string{self, "testdata/hello.txt", "testdata"} {
		if err := foreign(path, runtime.GOARCH); err != nil {
			t.Errorf("%s for a guest of this machine's architecture: %v", path, err)
		}
	}
}

func emptyCache(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv(debian.CacheVariable, dir)
	t.Setenv(KernelVariable, "")
	t.Setenv(QEMUVariable, "")
	return dir
}
