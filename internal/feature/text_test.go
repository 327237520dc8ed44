// SPDX-License-Identifier: Apache-2.0

package feature

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"golang.org/x/sys/unix"
)

// Features that lack privileges are one row, with one next step; a single one is as any other.
func TestRowsOfFeaturesWithoutPrivileges(t *testing.T) {
	yes := Feature{Name: "clock", Gives: "times", Answer: Yes}
	calls := Feature{Name: "calls", Gives: "isolation on request", Answer: Unknown, Reason: "permission denied", Denied: true, Next: "run as root"}
	maps := Feature{Name: "maps", Gives: "events", Answer: Unknown, Reason: "permission denied", Denied: true, Next: "run with CAP_BPF"}
	for _, tc := range []struct {
		name string
		list []Feature
		want [][]string
	}{
		{"none", []Feature{yes}, [][]string{{"yes", "clock", "times"}}},
		{"one", []Feature{yes, calls}, [][]string{
			{"unknown", "calls", "isolation on request: not tried without privileges"}, {"", "", "→ run as root"}, {"yes", "clock", "times"},
		}},
		{"two", []Feature{calls, yes, maps}, [][]string{
			{"unknown", "2 features", "not tried without privileges: calls, maps"}, {"", "", "→ run as root"}, {"yes", "clock", "times"},
		}},
	} {
		if got := Rows(tc.list); fmt.Sprint(got) != fmt.Sprint(tc.want) {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}

// What a library went through is no reason: only the file, or the kernel's answer.
func TestReasons(t *testing.T) {
	chain := func(err error) error {
		return fmt.Errorf("detect support for RingBuf: apply token attributes: get token: %w", err)
	}
	for want, err := range map[string]error{
		"open /proc/self/mountinfo: no such file or directory": chain(&fs.PathError{Op: "open", Path: "/proc/self/mountinfo", Err: unix.ENOENT}),
		"open /proc/kallsyms: no such file or directory":       &fs.PathError{Op: "open", Path: "proc/kallsyms", Err: unix.ENOENT},
		"the kernel's answer is: invalid argument":             chain(unix.EINVAL),
		"refused: operation not permitted":                     chain(unix.EPERM),
		"this kernel has no hook":                              fmt.Errorf("this kernel has no hook: %w", ErrNotSupported),
		"nobody knows":                                         errors.New("nobody knows"),
	} {
		if got := reason(err); got != want {
			t.Errorf("%v: got %q, want %q", err, got, want)
		}
	}
}
