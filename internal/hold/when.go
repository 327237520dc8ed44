// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"fmt"
	"strings"
	"time"
)

// When selects the times at which operations are held: always, if it has its zero value.
type When struct {
	// WhileBusy: while a user task runs on one of the CPUs.
	WhileBusy bool
	// Window: not in these hours. During: only in these. One of the two at most.
	Window, During Hours
}

// Hours are a part of each day, in local time. It goes over midnight if it ends
// before it begins.
type Hours struct{ From, To time.Duration } // since midnight

// ParseHours reads "09:30-16:00".
func ParseHours(text string) (Hours, error) {
	from, to, ok := strings.Cut(text, "-")
	var h Hours
	var err error
	if ok {
		if h.From, err = parseClock(from); err == nil {
			h.To, err = parseClock(to)
		}
	}
	if !ok || err != nil {
		return Hours{}, fmt.Errorf("%q is not a range of hours: want two times of the day, such as 09:30-16:00", text)
	}
	if h.From == h.To {
		return Hours{}, fmt.Errorf("%q has no end: the two times are the same", text)
	}
	return h, nil
}

func parseClock(text string) (time.Duration, error) {
	for _, form := range []string{"15:04", "15:04:05"} {
		if t, err := time.Parse(form, strings.TrimSpace(text)); err == nil {
			return t.Sub(t.Truncate(24 * time.Hour)), nil
		}
	}
	return 0, fmt.Errorf("%q is not a time of the day", text)
}

func (h Hours) isSet() bool { return h != Hours{} }

// contains reports whether a time is in the hours; their end is not.
func (h Hours) contains(t time.Time) bool {
	hour, minute, second := t.Clock()
	at := time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute + time.Duration(second)*time.Second
	if h.From < h.To {
		return h.From <= at && at < h.To
	}
	return at >= h.From || at < h.To
}

// mode is what the time asks for.
func (w When) mode(t time.Time) mode {
	if w.Window.isSet() && w.Window.contains(t) || w.During.isSet() && !w.During.contains(t) {
		return open
	}
	if w.WhileBusy {
		return busy
	}
	return closed
}

// hand is what somebody ordered by hand: nothing, if it has its zero value.
type hand struct {
	mode  mode
	set   bool
	until time.Time // zero: until another order
}

// wanted is the mode at a time. An order by hand decides first, then the state of the
// isolated task, then the clock.
func (k *Keeper) wanted(t time.Time) mode {
	if k.hand.set && !k.hand.until.IsZero() && t.After(k.hand.until) {
		k.hand = hand{}
	}
	byClock := k.cfg.When.mode(t)
	switch {
	case k.hand.set:
		return k.hand.mode
	case byClock == open || k.isolated == nil:
		return byClock
	case *k.isolated:
		return closed
	}
	return open
}
