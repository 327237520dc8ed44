// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// qemuSuite is where QEMU comes from. Debian 12's own QEMU 7.2 miscompiles code that another CPU modifies (static
// keys, ftrace) under multi-threaded TCG: Linux 7.2 dies of stray int3 there. QEMU 10 does not.
const qemuSuite = "trixie"

func qemuList() list { return list{qemuSuite, hostArch} }

// fetcher carries what one Setup needs.
type fetcher struct {
	dir      string
	keyrings string // directory with the machine's keyring
	manifest *Manifest
	log      *slog.Logger
	states   map[list]apt
}

// Setup brings the cache in dir up to date and returns its manifest. It does nothing if the last complete Setup is
// younger than maxAge. A row whose kernel cannot be fetched keeps the kernel it had; one that has none is recorded in
// [Manifest.Missing]. An error means that the cache holds no QEMU or no kernel at all.
func Setup(ctx context.Context, dir string, maxAge time.Duration, log *slog.Logger) (*Manifest, error) {
	unlock, err := Lock(ctx, filepath.Join(dir, "setup.lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()

	m, err := Load(dir)
	if errors.Is(err, ErrNotSetUp) {
		m, err = &Manifest{dir: dir}, nil
	}
	if err != nil {
		return nil, err
	}
	if m.complete() && time.Since(m.Checked) < maxAge {
		log.Info("cache is fresh", "dir", dir, "checked", m.Checked.Format(time.RFC3339))
		return m, nil
	}
	f := fetcher{dir: dir, keyrings: "/usr/share/keyrings", manifest: m, log: log, states: map[list]apt{}}
	if err := f.fetch(ctx); err != nil {
		return nil, err
	}
	return m, m.save()
}

// complete is true if everything there should be is named, and what is named is there.
func (m *Manifest) complete() bool {
	if m.QEMU == nil || len(m.Missing) > 0 {
		return false
	}
	for _, emulator := range emulators() {
		if !m.has(filepath.Join(m.QEMU.Root, emulator)) {
			return false
		}
	}
	for _, row := range Rows() {
		kernel, ok := m.Kernels[row.Name]
		if !ok || !m.has(kernel.Image) {
			return false
		}
	}
	for _, suite := range Suites() {
		daemons, ok := m.Daemons[suite]
		if !ok || !m.has(daemons.Root) {
			return false
		}
	}
	return true
}

func (m *Manifest) has(rel string) bool {
	_, err := os.Stat(m.Path(rel))
	return err == nil
}

func (f *fetcher) fetch(ctx context.Context) error {
	uris, err := archives(ctx)
	if err != nil {
		return err
	}
	failed := f.openLists(ctx, uris)
	fresh := true
	if err := f.fetchQEMU(ctx); err != nil {
		if f.manifest.QEMU == nil {
			return errors.Join(err, failed[qemuList()])
		}
		fresh = false
		f.log.Warn("keeping the QEMU in the cache", "reason", err)
	}
	fresh = f.fetchKernels(ctx, failed) && fresh
	fresh = f.fetchDaemons(ctx, failed) && fresh
	if len(f.manifest.Kernels) == 0 {
		return fmt.Errorf("fetching kernels: %v", f.manifest.Missing)
	}
	if fresh {
		f.manifest.Checked = time.Now()
	}
	f.prune()
	return nil
}

// openLists updates a private apt state per package list. One whose signature the machine's keyring does not know is
// tried again with the keyring package of a list that did verify: trust is handed on, never assumed.
func (f *fetcher) openLists(ctx context.Context, uris []string) map[list]error {
	failed := map[list]error{}
	keyring, err := findKeyring(f.keyrings)
	for _, l := range lists() {
		failed[l] = err
		if err == nil {
			failed[l] = f.openList(ctx, uris, l, keyring)
		}
	}
	for _, l := range lists() {
		for _, trusted := range lists() {
			if failed[l] == nil || failed[trusted] != nil {
				continue
			}
			keyring, err := f.fetchKeyring(ctx, trusted)
			if err == nil {
				f.log.Info("trying the keyring of another list", "list", l, "keyring", trusted)
				err = f.openList(ctx, uris, l, keyring)
			}
			if err == nil {
				failed[l] = nil
			}
		}
	}
	return failed
}

func (f *fetcher) openList(ctx context.Context, uris []string, l list, keyring string) error {
	var errs []error
	for _, uri := range uris {
		a, err := newAPT(f.manifest.aptDir(l), uri, l, keyring)
		if err != nil {
			return err
		}
		f.log.Info("reading package list", "list", l)
		if err := a.update(ctx); err != nil {
			errs = append(errs, err)
			continue
		}
		f.states[l] = a
		return nil
	}
	return errors.Join(errs...)
}

func (m *Manifest) aptDir(l list) string { return filepath.Join(m.dir, "apt", l.String()) }

// findKeyring finds Debian's keyring in a directory. Its name ends in .pgp since Debian 13.
func findKeyring(dir string) (string, error) {
	for _, name := range []string{"debian-archive-keyring.pgp", "debian-archive-keyring.gpg"} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("finding debian-archive-keyring in %s: install the package of that name", dir)
}

func (f *fetcher) fetchKeyring(ctx context.Context, l list) (string, error) {
	packages, err := f.states[l].closure(ctx, "debian-archive-keyring")
	if err != nil {
		return "", err
	}
	packages = slices.DeleteFunc(packages, func(p Package) bool { return p.name() != "debian-archive-keyring" })
	rel, err := f.obtain(ctx, l, "keyring", packages, func(name string) bool {
		return strings.HasPrefix(name, "usr/share/keyrings/")
	})
	if err != nil {
		return "", err
	}
	return findKeyring(filepath.Join(f.dir, rel, "usr/share/keyrings"))
}

func (f *fetcher) fetchQEMU(ctx context.Context) error {
	a, ok := f.states[qemuList()]
	if !ok {
		return fmt.Errorf("fetching QEMU: no package list of %s", qemuList())
	}
	packages, err := a.closure(ctx, "qemu-system-x86", "qemu-system-arm")
	if err != nil {
		return fmt.Errorf("fetching QEMU: %w", err)
	}
	root, err := f.obtain(ctx, a.list, "qemu", packages, keepForQEMU)
	if err != nil {
		return fmt.Errorf("fetching QEMU: %w", err)
	}
	f.manifest.QEMU = &QEMU{Root: root, Source: packages}
	return nil
}

// emulators are the programs that are kept of QEMU's packages, which have others as well.
func emulators() []string {
	return []string{"usr/bin/qemu-system-x86_64", "usr/bin/qemu-system-aarch64"}
}

func keepForQEMU(name string) bool {
	if slices.Contains(emulators(), name) {
		return true
	}
	for _, dir := range []string{"usr/lib64/", "usr/lib/x86_64-linux-gnu/", "usr/share/qemu/", "usr/share/seabios/"} {
		if strings.HasPrefix(name, dir) {
			return true
		}
	}
	return false
}

// obtain returns the directory, relative to the cache, that holds the unpacked packages. Its name is made of their
// checksums, so a directory that exists is the right one.
func (f *fetcher) obtain(ctx context.Context, l list, kind string, packages []Package, keep func(string) bool) (string, error) {
	rel := filepath.Join(kind, digest(packages))
	final := filepath.Join(f.dir, rel)
	if _, err := os.Stat(final); err == nil {
		f.log.Info("in the cache", "kind", kind, "list", l, "dir", rel)
		return rel, nil
	}
	f.log.Info("downloading", "kind", kind, "list", l, "packages", len(packages), "MB", totalMB(packages))
	work, err := os.MkdirTemp(f.dir, "unpack-")
	if err != nil {
		return "", fmt.Errorf("creating a work directory: %w", err)
	}
	defer os.RemoveAll(work)
	if err := f.fill(ctx, l, work, packages, keep); err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(final), 0o755); err != nil {
		return "", err
	}
	return rel, os.Rename(filepath.Join(work, "root"), final)
}

func (f *fetcher) fill(ctx context.Context, l list, work string, packages []Package, keep func(string) bool) error {
	if err := os.Mkdir(filepath.Join(work, "root"), 0o755); err != nil {
		return err
	}
	if err := f.states[l].download(ctx, work, packages); err != nil {
		return err
	}
	for _, p := range packages {
		if err := unpack(ctx, filepath.Join(work, p.File), filepath.Join(work, "root"), keep); err != nil {
			return err
		}
	}
	return nil
}

func digest(packages []Package) string {
	sum := sha256.New()
	for _, p := range packages {
		fmt.Fprintf(sum, "%s %s\n", p.File, p.SHA256)
	}
	return hex.EncodeToString(sum.Sum(nil))[:16]
}

func totalMB(packages []Package) float64 {
	var total int64
	for _, p := range packages {
		total += p.Size
	}
	return float64(total/1e5) / 10
}

// prune removes what the manifest no longer names.
func (f *fetcher) prune() {
	used := map[string]bool{f.manifest.QEMU.Root: true}
	for _, k := range f.manifest.Kernels {
		used[k.root()] = true
	}
	for _, d := range f.manifest.Daemons {
		used[d.Root] = true
	}
	for _, kind := range []string{"qemu", "kernel", "daemons"} {
		entries, _ := os.ReadDir(filepath.Join(f.dir, kind))
		for _, entry := range entries {
			rel := filepath.Join(kind, entry.Name())
			if used[rel] {
				continue
			}
			f.log.Info("removing", "dir", rel)
			if err := os.RemoveAll(filepath.Join(f.dir, rel)); err != nil {
				f.log.Warn("pruning the cache", "reason", err)
			}
		}
	}
}
