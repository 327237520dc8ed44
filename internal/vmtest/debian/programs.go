// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
)

// Programs returns a directory with the files of packages of a suite and of all that they need, but for documentation:
// enough to run them in a guest. It comes from the cache, or else from the archive. No script of a package is run. [Setup]
// must have read the suite's package list.
func (m *Manifest) Programs(ctx context.Context, suite string, log *slog.Logger, names ...string) (string, error) {
	if !slices.Contains(Suites(), suite) {
		return "", fmt.Errorf("unpacking %s: there is no package list of %q, but of %s",
			strings.Join(names, ", "), suite, strings.Join(Suites(), ", "))
	}
	unlock, err := Lock(ctx, filepath.Join(m.dir, "setup.lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	from := list{suite, hostArch}
	a := apt{dir: m.aptDir(from), list: from}
	packages, err := a.closure(ctx, names...)
	if err != nil {
		return "", fmt.Errorf("unpacking %s: %w", strings.Join(names, ", "), err)
	}
	f := fetcher{dir: m.dir, log: log, states: map[list]apt{from: a}}
	rel, err := f.obtain(ctx, from, "programs", packages, keepForPrograms)
	if err != nil {
		return "", fmt.Errorf("unpacking %s: %w (vmsetup -max-age 0 reads the package lists again)", strings.Join(names, ", "), err)
	}
	return m.Path(rel), nil
}

// keepForPrograms leaves out what no program needs to run in a guest, where all files are in memory.
func keepForPrograms(name string) bool {
	for _, dir := range []string{"usr/share/doc/", "usr/share/man/", "usr/share/locale/", "usr/share/info/", "usr/share/zoneinfo/", "usr/lib/systemd/system/"} {
		if strings.HasPrefix(name, dir) {
			return false
		}
	}
	return true
}
