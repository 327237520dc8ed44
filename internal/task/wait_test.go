// SPDX-License-Identifier: Apache-2.0

package task

import (
	"errors"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// ends are the far ends of the channels of a wait.
type ends struct {
	exited  chan *os.ProcessState
	read    chan error
	signals chan os.Signal
}

func (e ends) of(w *Wait) { w.Exited, w.Read, w.Signals = e.exited, e.read, e.signals }

// pollTimes returns a poll that ends the wait when it is called for the nth time.
func pollTimes(n int, reason string, err error) func(time.Time) (string, error) {
	return func(time.Time) (string, error) {
		if n--; n > 0 {
			return "", nil
		}
		return reason, err
	}
}

// Each reason ends the wait, at its time, and nothing else does.
func TestWaitEnds(t *testing.T) {
	failed := errors.New("failed")
	isTERM := func(sig os.Signal) bool { return sig == syscall.SIGTERM }
	for name, tc := range map[string]struct {
		wait Wait
		send func(ends) // in a goroutine
		by   string
		err  error
		at   time.Duration
	}{
		"duration":                 {wait: Wait{Duration: time.Second}, by: ByDuration, at: time.Second},
		"after the warm-up":        {wait: Wait{WarmUp: 2 * time.Second, Duration: time.Second}, by: ByDuration, at: 3 * time.Second},
		"no duration within a day": {send: func(e ends) { time.Sleep(24 * time.Hour); e.exited <- nil }, by: ByExit, at: 24 * time.Hour},
		"exit in the warm-up":      {wait: Wait{WarmUp: time.Minute, Duration: time.Second}, send: func(e ends) { e.exited <- nil }, by: ByExit},
		"a signal that is handled": {wait: Wait{Duration: time.Second}, send: func(e ends) { e.signals <- syscall.SIGUSR1 }, by: ByDuration, at: time.Second},
		"a signal that ends it":    {wait: Wait{Duration: time.Second}, send: func(e ends) { e.signals <- syscall.SIGUSR1; e.signals <- syscall.SIGTERM }, by: ByInterrupt},
		"reading ends":             {wait: Wait{Duration: time.Second}, send: func(e ends) { e.read <- nil }},
		"reading fails":            {wait: Wait{Duration: time.Second}, send: func(e ends) { e.read <- failed }, err: failed},
		"beginning fails":          {wait: Wait{WarmUp: time.Second, Warm: func() error { return failed }}, err: failed, at: time.Second},
		"a poll ends it":           {wait: Wait{Interval: time.Second, Poll: pollTimes(3, "limit", nil)}, by: "limit", at: 3 * time.Second},
		"a poll fails":             {wait: Wait{Interval: time.Second, Poll: pollTimes(2, "", failed)}, err: failed, at: 2 * time.Second},
		"polls during the warm-up": {wait: Wait{WarmUp: time.Minute, Interval: time.Second, Poll: pollTimes(2, "moved", nil)}, by: "moved", at: 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := tc.wait
				e := ends{make(chan *os.ProcessState, 1), make(chan error, 1), make(chan os.Signal, 2)}
				e.of(&w)
				w.Signal = isTERM
				if tc.send != nil {
					go tc.send(e)
				}
				begin := time.Now()
				got, err := w.Until()
				if got.By != tc.by || !errors.Is(err, tc.err) || time.Since(begin) != tc.at {
					t.Errorf("ended by %q after %v, %v; want %q after %v, %v", got.By, time.Since(begin), err, tc.by, tc.at, tc.err)
				}
			})
		})
	}
}

// Where there is no command to pass them on to, signals end what taskiso does, except those that have a meaning for commands only.
func TestSignalledWithoutCommand(t *testing.T) {
	for sig, ends := range map[syscall.Signal]bool{
		syscall.SIGINT: true, syscall.SIGQUIT: true, syscall.SIGTERM: true, syscall.SIGHUP: true,
		syscall.SIGUSR1: false, syscall.SIGUSR2: false,
	} {
		if Signalled(nil, sig) != ends {
			t.Errorf("%v ends it: %v, want %v", sig, !ends, ends)
		}
	}
}
