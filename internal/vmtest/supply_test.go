// SPDX-License-Identifier: Apache-2.0

package vmtest

import (
	"errors"
	"os"
	"path/filepath"
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
	if err != nil || len(got.kernels) != 1 || got.kernels[0].image != "/src/linux/bzImage" || got.qemu[0] != "/opt/qemu" {
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

func emptyCache(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv(debian.CacheVariable, dir)
	t.Setenv(KernelVariable, "")
	t.Setenv(QEMUVariable, "")
	return dir
}
