// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"log/slog"
	"strings"
	"testing"
)

func TestProgramsOfUnknownSuite(t *testing.T) {
	m := &Manifest{dir: t.TempDir()}
	if _, err := m.Programs(t.Context(), "buzz", slog.Default(), "tuned"); err == nil || !strings.Contains(err.Error(), `no package list of "buzz"`) {
		t.Errorf("got %v", err)
	}
}

func TestKeepForPrograms(t *testing.T) {
	for name, want := range map[string]bool{
		"usr/sbin/tuned": true, "etc/tuned/tuned-main.conf": true, "usr/share/doc/tuned/README": false,
		"usr/share/man/man8/tuned.8.gz": false, "usr/share/dbus-1/system.conf": true,
	} {
		if got := keepForPrograms(name); got != want {
			t.Errorf("keepForPrograms(%s) is %t", name, got)
		}
	}
}
