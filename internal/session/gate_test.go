// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/abi"
)

// fakeGate notes what happens, and how many calls had been granted by then.
type fakeGate struct {
	mu    sync.Mutex
	watch *fakeWatch
	log   []string
	err   error
}

func (g *fakeGate) note(what string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.watch.mu.Lock()
	defer g.watch.mu.Unlock()
	g.log = append(g.log, fmt.Sprintf("%s, %d granted", what, len(g.watch.granted)))
}

func (g *fakeGate) Enter() (func(), error) {
	g.note("closed")
	return func() { g.note("done") }, g.err
}

func (g *fakeGate) Window(slot int) error {
	g.note(fmt.Sprintf("window of %d", slot))
	return g.err
}

// Operations are held from before the CPU is looked at until the thread is
// isolated or will not be; and let go when it asks for a window.
func TestGate(t *testing.T) {
	for _, tc := range []struct {
		name  string
		flags uint64
		err   error
		want  answer
		log   []string
	}{
		{"entering", enable, nil, answer{}, []string{"closed, 0 granted", "done, 1 granted"}},
		{"leaving", 0, nil, answer{}, nil},
		{"a window, and entering", enable | abi.Window, nil, answer{}, []string{"window of 0, 0 granted", "closed, 0 granted", "done, 1 granted"}},
		{"a window", abi.Window, nil, answer{}, []string{"window of 0, 0 granted"}},
		{"entering fails", enable, errors.New("gone"), answer{errno: unix.EAGAIN}, []string{"closed, 0 granted", "done, 0 granted"}},
		{"a window fails", abi.Window, errors.New("gone"), answer{errno: unix.EAGAIN}, []string{"window of 0, 0 granted"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFixture(t)
			gate := &fakeGate{watch: f.watch, err: tc.err}
			f.cfg.Gate = gate
			if got := f.call(100, 48, tc.flags); got != tc.want {
				t.Errorf("%+v, want %+v", got, tc.want)
			}
			if tc.err != nil { // it is the supervisor's as well, and not of the fixture's liking
				eventually(t, func() bool { return f.Err() != nil })
				f.mu.Lock()
				f.err = nil
				f.mu.Unlock()
			}
			eventually(t, func() bool {
				gate.mu.Lock()
				defer gate.mu.Unlock()
				return slices.Equal(gate.log, tc.log)
			})
		})
	}
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Error("it did not become so")
}
