// SPDX-License-Identifier: Apache-2.0

package vmtest

import (
	"os"
	"path/filepath"

	"github.com/taskiso/taskiso/internal/vmtest/debian"
)

// Environment variables that replace what package debian provides, for a kernel under development or a machine without
// apt. The command must be an x86 system emulator of QEMU 10 or later.
const (
	KernelVariable = "TASKISO_KERNEL"
	QEMUVariable   = "TASKISO_QEMU"
)

// supply is what there is to boot.
type supply struct {
	kernels []kernel
	qemu    []string // command and first arguments
	cache   string
}

// kernel is one to run on.
type kernel struct {
	name    string
	image   string
	release string // empty if unknown
	daemons string // where systemd and irqbalance of its suite are, empty if there are none
	missing string // the reason, if there is no image
}

func findSupply(suites []string) (supply, error) {
	cache, err := debian.CacheDir()
	if err != nil {
		return supply{}, err
	}
	have := supply{cache: cache}
	if own := os.Getenv(KernelVariable); own != "" {
		have.kernels = []kernel{{name: filepath.Base(own), image: own}}
	}
	if own := os.Getenv(QEMUVariable); own != "" {
		have.qemu = []string{own}
	}
	if have.kernels != nil && have.qemu != nil {
		return have, nil
	}
	m, err := debian.Load(cache)
	if err != nil {
		return supply{}, err
	}
	have.complete(m, suites)
	return have, nil
}

func (s *supply) complete(m *debian.Manifest, suites []string) {
	if s.qemu == nil {
		s.qemu = m.QEMUCommand()
	}
	if s.kernels != nil {
		return
	}
	for _, suite := range suites {
		k, ok := m.Kernels[suite]
		if !ok {
			s.kernels = append(s.kernels, kernel{name: suite, missing: "not in the cache; " + m.Missing[suite]})
			continue
		}
		s.kernels = append(s.kernels, kernel{name: k.Name(), image: m.Path(k.Image), release: k.Release, daemons: daemonsOf(m, suite)})
	}
}

func daemonsOf(m *debian.Manifest, suite string) string {
	d, ok := m.Daemons[suite]
	if !ok {
		return ""
	}
	return m.Path(d.Root)
}
