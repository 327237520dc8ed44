// SPDX-License-Identifier: Apache-2.0

package signame

import (
	"strings"
	"syscall"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]syscall.Signal{
		"SIGUSR1": syscall.SIGUSR1, "USR1": syscall.SIGUSR1, "sigusr1": syscall.SIGUSR1, "Usr1": syscall.SIGUSR1,
		"10": 10, "1": 1, "34": 34, "64": 64,
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "SIG", "0", "-1", "65", "99999999999999999999", "USR3", " USR1", "SIGSIGUSR1"} {
		if got, err := Parse(text); err == nil || got != 0 || !strings.Contains(err.Error(), "give a name such as SIGUSR1") {
			t.Errorf("%q: got %d, %v", text, got, err)
		}
	}
}

// Each name is understood, those of signals without one too: by their numbers.
func TestOf(t *testing.T) {
	for n := syscall.Signal(1); n <= last; n++ {
		name := Of(n)
		if got, err := Parse(strings.TrimPrefix(name, "signal ")); err != nil || got != n {
			t.Errorf("signal %d is %q, which is %d (%v)", n, name, got, err)
		}
	}
	if got := Of(syscall.SIGURG); got != "SIGURG" {
		t.Errorf("got %q", got)
	}
	if got := Of(40); got != "signal 40" {
		t.Errorf("got %q", got)
	}
}
