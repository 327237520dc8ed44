// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// fetchDaemons fetches the daemons that share settings with taskiso. To install
// them would start them on the machine that runs the tests.
func (f *fetcher) fetchDaemons(ctx context.Context, failed map[list]error) (fresh bool) {
	m := f.manifest
	fresh = true
	if m.Daemons == nil {
		m.Daemons = map[string]Daemons{}
	}
	for _, suite := range Suites() {
		daemons, err := Daemons{}, failed[list{suite, hostArch}]
		if err == nil {
			daemons, err = f.fetchDaemonsOf(ctx, suite)
		}
		if err != nil {
			fresh = false
			f.log.Warn("no newer systemd and irqbalance for guests", "suite", suite, "reason", err)
			continue
		}
		m.Daemons[suite] = daemons
	}
	return fresh
}

func (f *fetcher) fetchDaemonsOf(ctx context.Context, suite string) (Daemons, error) {
	from := list{suite, hostArch}
	packages, err := f.states[from].closure(ctx, "systemd", "irqbalance")
	if err != nil {
		return Daemons{}, fmt.Errorf("fetching daemons: %w", err)
	}
	root, err := f.obtain(ctx, from, "daemons", packages, keepForDaemons)
	return Daemons{Root: root, Source: packages}, err
}

// keepForDaemons takes paths below /usr and those that were not yet there in
// Debian 12.
func keepForDaemons(name string) bool {
	const libraries = "lib/x86_64-linux-gnu/"
	name = strings.TrimPrefix(name, "usr/")
	switch {
	case slices.Contains([]string{"bin/systemctl", "bin/systemd-run", "sbin/irqbalance"}, name):
		return true
	case strings.HasPrefix(name, libraries+"gconv/"), strings.HasPrefix(name, libraries+"ossl-modules/"), strings.HasPrefix(name, libraries+"perl/"):
		return false
	default:
		return strings.HasPrefix(name, libraries) || strings.HasPrefix(name, "lib/systemd/")
	}
}
