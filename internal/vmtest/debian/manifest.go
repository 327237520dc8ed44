// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// Suites are the releases of Debian that kernels are of, oldest first. The rows of their amd64 kernels are named so.
func Suites() []string { return []string{"bookworm", "trixie", "sid"} }

// Manifest lists what is in the cache.
type Manifest struct {
	// Checked is when all packages were last known to be the archive's newest.
	Checked time.Time
	// Kernels are keyed by the name of their row. One that could not be fetched is missing here and in Missing with the
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
	Row     string `json:"-"` // its key in the manifest
	Release string // as uname -r says
	Image   string // what QEMU boots: bzImage on x86, Image on arm64
	Config  string // the .config it was built from
	Modules string // directory for /lib/modules/$Release
	Source  []Package
}

// Name is short, unique among the rows and stable enough for test names: the row and the first two numbers of the
// kernel's release.
func (k Kernel) Name() string {
	numbers := strings.SplitN(k.Release, ".", 3)
	return k.Row + "-" + strings.Join(numbers[:min(2, len(numbers))], ".")
}

// QEMU are unpacked system emulators with all libraries down to the dynamic loader, so that they run on a machine of
// another Debian release.
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

// Incomplete returns an error that names each row without a kernel, and why it has none.
func (m *Manifest) Incomplete() error {
	var missing []error
	for _, row := range Rows() {
		if _, ok := m.Kernels[row.Name]; !ok {
			missing = append(missing, fmt.Errorf("fetching the kernel of row %s (%s, release %s): %s", row.Name, row.Package, row.Suite, m.Missing[row.Name]))
		}
	}
	return errors.Join(missing...)
}

// Path makes a path of the manifest absolute.
func (m *Manifest) Path(rel string) string { return filepath.Join(m.dir, rel) }

// QEMUCommand returns the command and first arguments that run the emulator of that name, as "qemu-system-x86_64".
func (m *Manifest) QEMUCommand(emulator string) []string {
	root := m.Path(m.QEMU.Root)
	return []string{
		filepath.Join(root, "usr/lib64/ld-linux-x86-64.so.2"),
		"--library-path", filepath.Join(root, "usr/lib/x86_64-linux-gnu"),
		filepath.Join(root, "usr/bin", emulator),
		"-L", filepath.Join(root, "usr/share/qemu"),
		"-L", filepath.Join(root, "usr/share/seabios"),
	}
}
