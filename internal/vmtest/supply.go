// SPDX-License-Identifier: Apache-2.0

package vmtest

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/taskiso/taskiso/internal/vmtest/debian"
)

// Environment variables that replace what package debian provides, for a kernel under development or a machine without
// apt. Both are for x86; the command must be a system emulator of QEMU 10 or later.
const (
	KernelVariable = "TASKISO_KERNEL"
	QEMUVariable   = "TASKISO_QEMU"
)

// supply is what there is to boot.
type supply struct {
	kernels []kernel
	qemu    map[string][]string // by architecture: command and first arguments
	cache   string
}

// kernel is one to run on.
type kernel struct {
	row     string // empty for a kernel of somebody's own
	name    string
	arch    string // as Go names it
	image   string
	modules string // directory, empty if unknown
	release string // empty if unknown
	daemons string // where systemd and irqbalance of its suite are, empty if there are none
	missing string // the reason, if there is no image
}

func findSupply(rows []string) (supply, error) {
	cache, err := debian.CacheDir()
	if err != nil {
		return supply{}, err
	}
	have := supply{cache: cache, qemu: map[string][]string{}}
	if own := os.Getenv(KernelVariable); own != "" {
		have.kernels = []kernel{{name: filepath.Base(own), arch: "amd64", image: own}}
	}
	if own := os.Getenv(QEMUVariable); own != "" {
		have.qemu["amd64"] = []string{own}
	}
	if have.kernels != nil && len(have.qemu) > 0 {
		return have, nil
	}
	m, err := debian.Load(cache)
	if err != nil {
		return supply{}, err
	}
	return have, have.complete(m, rows)
}

func (s *supply) complete(m *debian.Manifest, rows []string) error {
	for arch, p := range platforms() {
		if s.qemu[arch] == nil {
			s.qemu[arch] = m.QEMUCommand(p.emulator)
		}
	}
	if s.kernels != nil {
		return nil
	}
	for _, name := range rows {
		row, ok := debian.FindRow(name)
		if !ok {
			return fmt.Errorf("looking for the kernel of row %q: there is no such row", name)
		}
		s.kernels = append(s.kernels, kernelOf(m, row))
	}
	return nil
}

func kernelOf(m *debian.Manifest, row debian.Row) kernel {
	k, ok := m.Kernels[row.Name]
	if !ok {
		reason := m.Missing[row.Name]
		if reason == "" {
			reason = "vmsetup has not asked for it yet, run it again"
		}
		return kernel{row: row.Name, name: row.Name, arch: row.Arch, missing: "not in the cache; " + reason}
	}
	return kernel{
		row: row.Name, name: k.Name(), arch: row.Arch, release: k.Release,
		image: m.Path(k.Image), modules: m.Path(k.Modules), daemons: daemonsOf(m, row),
	}
}

// daemonsOf is empty where there are none: they are kept for x86 only.
func daemonsOf(m *debian.Manifest, row debian.Row) string {
	d, ok := m.Daemons[row.Suite]
	if !ok || row.Arch != "amd64" {
		return ""
	}
	return m.Path(d.Root)
}
