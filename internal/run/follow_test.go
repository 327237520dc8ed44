// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// A signal ends the wait for a task that never starts, but not one that a command is sent.
func TestSignalEndsTheWaitForAStart(t *testing.T) {
	never := func() error { select {} }
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		o := &Observation{Signals: make(chan os.Signal, 2)}
		o.Signals <- syscall.SIGUSR1
		o.Signals <- sig
		err := o.unlessInterrupted("starting it", never)
		if err == nil || !strings.Contains(err.Error(), "starting it had not ended") || !strings.Contains(err.Error(), sig.String()) {
			t.Errorf("%v: %v", sig, err)
		}
	}
	// What starts all the same is ended by the signal, or by one that came after it:
	// more of them than there is room for block nobody.
	o := &Observation{Signals: make(chan os.Signal, 1)}
	o.Signals <- syscall.SIGINT
	late := func() error {
		for len(o.Signals) > 0 { // until the first is taken
			runtime.Gosched()
		}
		o.Signals <- syscall.SIGTERM
		return nil
	}
	if err := o.unlessInterrupted("starting it", late); err != nil || len(o.Signals) != 1 {
		t.Errorf("%v, %d signals wait, want one", err, len(o.Signals))
	}
	o = &Observation{Signals: make(chan os.Signal, 1)}
	if err := o.unlessInterrupted("starting it", func() error { return os.ErrExist }); !errors.Is(err, os.ErrExist) {
		t.Errorf("%v, want what the start returned", err)
	}
}
