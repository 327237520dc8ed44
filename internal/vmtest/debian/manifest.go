// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"path/filepath"
	"strings"
	"time"
)

// Suites are the releases of Debian whose kernels are fetched, oldest first.
func Suites() []string { return []string{"bookworm", "trixie", "sid"} }

// Manifest lists what is in the cache.
type Manifest struct {
	// Checked is when all packages were last known to be the archive's newest.
	Checked time.Time
	// Kernels are keyed by suite, or by [RealTime]. One that could not be fetched is missing here and in Missing with the
	// reason.
	Kernels map[string]Kernel
	Missing map[string]string
	QEMU    *QEMU
	// Daemons are keyed by suite too.
	Daemons map[string]Daemons `json:"DaemonsBySuite"`

	dir string
}

// Kernel is an unpacked kernel. Paths are relative to the cache directory, see [Manifest.Path].
type Kernel struct {
	Suite   string // or RealTime
	Release string // as uname -r says
	Image   string // bzImage
	Config  string // the .config it was built from
	Modules string // directory for /lib/modules/$Release
	Source  []Package
}

// Name is short, unique among the suites and stable enough for test names: the suite and the first two numbers of the
// kernel's release.
func (k Kernel) Name() string {
	numbers := strings.SplitN(k.Release, ".", 3)
	return k.Suite + "-" + strings.Join(numbers[:min(2, len(numbers))], ".")
}

// QEMU is an unpacked x86 system emulator with all libraries down to the dynamic loader, so that it runs on a machine
// of another Debian release.
type QEMU struct {
	Root   string // relative to the cache directory
	Source []Package
}

// Daemons are systemd and irqbalance with all libraries they need, unpacked.
type Daemons struct {
	Root   string // relative to the cache directory
	Source []Package
}

// Package names a package of the archive exactly.
type Package struct {
	File   string
	Size   int64
	SHA256 string
}

// Path makes a path of the manifest absolute.
func (m *Manifest) Path(rel string) string { return filepath.Join(m.dir, rel) }

// QEMUCommand returns the command and first arguments that run QEMU.
func (m *Manifest) QEMUCommand() []string {
	root := m.Path(m.QEMU.Root)
	return []string{
		filepath.Join(root, "usr/lib64/ld-linux-x86-64.so.2"),
		"--library-path", filepath.Join(root, "usr/lib/x86_64-linux-gnu"),
		filepath.Join(root, "usr/bin/qemu-system-x86_64"),
		"-L", filepath.Join(root, "usr/share/qemu"),
		"-L", filepath.Join(root, "usr/share/seabios"),
	}
}
