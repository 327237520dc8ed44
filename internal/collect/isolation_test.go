// SPDX-License-Identifier: Apache-2.0

package collect

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso"
	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/stay"
)

// A break by a signal is named by it and its sender, whatever carried it to the CPU.
func TestBreakBySignal(t *testing.T) {
	signal := func(number unix.Signal, code uint64) event.Event {
		return event.Event{Kind: event.Signal, A: uint64(number), B: code}
	}
	for _, tc := range []struct {
		name       string
		entry      event.Kind
		delivered  []event.Event
		broken     unix.Signal
		id, detail string
	}{
		{"from another CPU", event.RescheduleEnter, []event.Event{signal(unix.SIGTERM, 0)}, unix.SIGTERM, "signal", "SIGTERM"},
		{"of a timer on this CPU", event.LocalTimerEnter, []event.Event{signal(unix.SIGALRM, 0x80)}, unix.SIGALRM, "signal", "SIGALRM"},
		{"two, of which the first is the break", event.RescheduleEnter, []event.Event{signal(unix.SIGHUP, 0), signal(unix.SIGTERM, 0)}, unix.SIGHUP, "signal", "SIGHUP"},
		{"of a page fault", event.PageFault, []event.Event{signal(unix.SIGSEGV, 1)}, unix.SIGSEGV, "exception-signal", "SIGSEGV"},
		{"of an exception", event.UserExit, []event.Event{signal(unix.SIGILL, 2)}, unix.SIGILL, "exception-signal", "SIGILL"},
		{"a SIGSEGV that somebody sends", event.RescheduleEnter, []event.Event{signal(unix.SIGSEGV, 0)}, unix.SIGSEGV, "signal", "SIGSEGV"},
		{"a stop that another thread is delivered", event.RescheduleEnter, nil, unix.SIGSTOP, "", "SIGSTOP"},
	} {
		c := newSample(t)
		s := stayAt(time.Second, time.Millisecond, event.Event{Kind: tc.entry})
		s.Inside = []stay.Part{{Event: s.Entry}}
		if tc.entry == event.RescheduleEnter {
			s.Inside[0].Senders = []event.Event{{Kind: event.SendReschedule, CPU: 1, Sender: &event.Sender{PID: 9, Name: "kill"}}}
		}
		for _, e := range tc.delivered {
			s.Inside = append(s.Inside, stay.Part{Event: e})
		}
		s.Broken = event.Event{Kind: event.Broken, TID: s.TID, A: 1 << 32, B: uint64(taskiso.Signal), C: uint64(tc.broken)}
		c.Isolation(s.Broken)
		c.Stay(s)
		all := c.Isolations(time.Hour)
		if len(all) != 1 || len(all[0].Causes) != 1 {
			t.Errorf("%s: %+v", tc.name, all)
			continue
		}
		got := all[0].Causes[0]
		if got.ID != tc.id || got.Detail != tc.detail {
			t.Errorf("%s: %q %q: %q, want %q: %q", tc.name, got.ID, got.Title, got.Detail, tc.id, tc.detail)
		}
		if sent := len(got.Origins) == 1 && got.Origins[0].Name == "kill"; sent != (tc.entry == event.RescheduleEnter) {
			t.Errorf("%s: origins %+v", tc.name, got.Origins)
		}
	}
}
