// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"os"
	"os/signal"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// received returns how many signals come.
func received(t *testing.T, c <-chan os.Signal) int {
	t.Helper()
	n := 0
	for {
		select {
		case <-c:
			n++
		case <-time.After(50 * time.Millisecond):
			return n
		}
	}
}

func notify(t *testing.T, o NotifyOptions) (*Notifier, <-chan os.Signal) {
	t.Helper()
	onThread(t)
	c := make(chan os.Signal, 100)
	signal.Notify(c, unix.SIGUSR2)
	t.Cleanup(func() { signal.Stop(c) })
	n, err := NotifyOn(0, unix.SIGUSR2, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n, c
}

func TestNotifyOn(t *testing.T) {
	n, c := notify(t, NotifyOptions{})
	m := mapPages(t, 30)
	want := func(doing string, want int) {
		t.Helper()
		if got := received(t, c); got != want {
			t.Errorf("%s: %d signals, want %d", doing, got, want)
		}
	}
	steps := func(doing string, arm func() error, page, signals int) {
		t.Helper()
		if err := arm(); err != nil {
			t.Fatal(err)
		}
		m.write(page)
		m.write(page + 1)
		want(doing, signals)
	}
	m.write(0)
	want("before it was armed", 0)
	steps("armed", n.ExpectNone, 1, 1)
	m.write(3)
	want("not armed again", 0)
	steps("armed again", n.ExpectNone, 4, 1)
	if err := n.ExpectNone(); err != nil {
		t.Fatal(err)
	}
	steps("disarmed", n.ExpectSome, 6, 0)
	if err := n.ExpectNone(); err != nil {
		t.Fatal(err)
	}
	steps("armed twice", n.ExpectNone, 8, 1)
}

func TestNotifyEvery(t *testing.T) {
	n, c := notify(t, NotifyOptions{Every: true})
	m := mapPages(t, 5)
	if err := n.ExpectNone(); err != nil {
		t.Fatal(err)
	}
	for i := range m.pages() {
		m.write(i)
		time.Sleep(5 * time.Millisecond) // os/signal makes one of signals that come too fast
	}
	if err := n.ExpectSome(); err != nil {
		t.Fatal(err)
	}
	if got := received(t, c); got < 5 {
		t.Errorf("%d signals, want 5 or, with those of the runtime, more", got)
	}
}

func TestNotifyMajorOnly(t *testing.T) {
	n, c := notify(t, NotifyOptions{MajorOnly: true, Every: true})
	m := mapPages(t, 5)
	if err := n.ExpectNone(); err != nil {
		t.Fatal(err)
	}
	for i := range m.pages() {
		m.write(i)
	}
	if got := received(t, c); got != 0 {
		t.Errorf("%d signals, want none", got)
	}
}
