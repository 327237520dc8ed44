// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"cmp"
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/clock"
)

// interval is how often the buffers are looked at.
const interval = 10 * time.Millisecond

// Watcher reports page faults of one target.
//
// Read is for one goroutine at a time; all other methods may be called from any.
type Watcher struct {
	options Options
	life    life
	stop    chan struct{} // closed by Stop and Close

	mu          sync.Mutex // guards everything below
	open        *attachment
	tracker     *tracker
	pending     []record      // in no order, not yet taken in
	settled     time.Duration // when the last look at the buffers began
	ready       []Fault
	given       int // how many of ready Read has returned
	counts      Counts
	inSecond    uint64        // faults since second, for the limit
	second      time.Duration // when the second began that inSecond counts in
	samples     [kinds]uint64 // taken from the buffers
	kernel      [kinds]uint64 // as its counters were last
	lost        uint64        // as records show, so far
	adopted     time.Duration // when it was last looked for threads without events
	strangers   map[int]bool  // threads without events then
	paused      bool
	interrupted bool // there was a pause
	stopped     bool
	finished    bool // nothing comes any more
	closed      bool
}

// Watch begins to report page faults of a target. See the package comment for
// the privileges it needs; its errors wrap those of this package.
//
// A process costs two or three descriptors for each CPU and thread that it has now,
// and a buffer for each CPU and 64 of them; threads to come cost none. A thread costs two or three, and one
// buffer.
func Watch(t Target, o Options) (*Watcher, error) { return watch(t, o, unix.PerfEventOpen) }

func watch(t Target, o Options, open opener) (*Watcher, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	t = t.resolve()
	a, err := attach(t, o, open)
	if err != nil {
		return nil, err
	}
	w := &Watcher{options: o, open: a, tracker: newTracker(), stop: make(chan struct{})}
	if err := w.begin(t); err != nil {
		return nil, errors.Join(err, a.close())
	}
	return w, nil
}

// resolve puts a number in the place of 0.
func (t Target) resolve() Target {
	switch {
	case t.id != 0:
	case t.thread:
		t.id = unix.Gettid()
	default:
		t.id = os.Getpid()
	}
	return t
}

func (w *Watcher) begin(t Target) error {
	var err error
	if w.life, err = watchLife(w.open.pid, t); err != nil {
		return err
	}
	if w.tracker.owners, err = w.open.owners(); err != nil {
		return errors.Join(err, w.life.close())
	}
	w.paused, w.interrupted = w.options.Paused, w.options.Paused
	if w.options.Paused || w.options.OnExec {
		return nil
	}
	if err := w.open.enable(); err != nil {
		return errors.Join(err, w.life.close())
	}
	// Read after recording has begun, so that no change falls in between.
	w.tracker.process(w.open.pid)
	return nil
}

// Read returns the next fault, in the order of time. It blocks until there is one
// and returns io.EOF once the target has ended, or after Stop, or after the only
// fault that [Options].Once wants; and [ErrClosed] after Close. A fault is
// reported up to 20 milliseconds after it happened.
func (w *Watcher) Read() (Fault, error) {
	for {
		f, err := w.next()
		if err == nil || !errors.Is(err, errWait) {
			return f, err
		}
		select {
		case <-w.stop:
		case <-time.After(interval):
		}
	}
}

var errWait = errors.New("nothing yet")

func (w *Watcher) next() (Fault, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return Fault{}, ErrClosed
	}
	if w.given == len(w.ready) && !w.finished {
		w.ready, w.given = w.ready[:0], 0
		if err := w.look(); err != nil {
			return Fault{}, err
		}
	}
	switch {
	case w.given < len(w.ready):
		w.given++
		return w.ready[w.given-1], nil
	case w.finished:
		return Fault{}, io.EOF
	}
	return Fault{}, errWait
}

// look empties the buffers. A record in one buffer may be younger than a record that
// comes into another one afterwards. So records wait until the look after theirs:
// then everything older has been found.
func (w *Watcher) look() error {
	ends := w.stopped || w.life.ended()
	if ends { // before the buffers, so that a fault in between is not taken for lost
		if err := w.count(); err != nil {
			return err
		}
	}
	began := clock.Here()
	for _, r := range w.open.rings {
		if err := w.open.layout.parse(r.drain(), func(rec record) { w.pending = append(w.pending, rec) }); err != nil {
			return err
		}
	}
	if !slices.IsSortedFunc(w.pending, earlier) { // it is if all comes from one buffer
		slices.SortStableFunc(w.pending, earlier)
	}
	until := w.settled
	w.settled = began
	if ends {
		until = began + time.Hour
	}
	n := 0
	for n < len(w.pending) && w.pending[n].time <= until {
		w.take(&w.pending[n])
		n++
	}
	w.pending = slices.Delete(w.pending, 0, n)
	if ends {
		w.finish()
		return nil
	}
	return w.adopt(began)
}

// adoptInterval is how often it is looked for threads without events.
const adoptInterval = time.Second

// adopt attaches to threads that were missed: their creators were just attached to
// when they created them. All others make themselves known by a record. A thread is
// missed if it has not in the time from one look to the next.
func (w *Watcher) adopt(now time.Duration) error {
	if w.open.target.thread || w.options.OnExec || w.paused || now-w.adopted < adoptInterval {
		return nil
	}
	if !w.open.layout.ids && (w.interrupted || w.lost > 0) {
		return nil // its record may be missing, and then its samples would come twice without a sign of it
	}
	w.adopted = now
	tids, err := threads(w.open.pid)
	if err != nil {
		return nil //nolint:nilerr // it has just ended, which the next look will find
	}
	known, before := w.open.owned(), w.strangers
	w.strangers = make(map[int]bool)
	for _, tid := range tids {
		if known[tid] || w.tracker.covered[tid] {
			continue
		}
		w.strangers[tid] = true
		if !before[tid] {
			continue
		}
		if err := w.open.adopt(tid); err != nil && !errors.Is(err, ErrNoTarget) {
			return err
		}
		w.tracker.owners, err = w.open.owners()
		if err != nil {
			return err
		}
	}
	return nil
}

func earlier(a, b record) int { return cmp.Compare(a.time, b.time) }

func (w *Watcher) take(rec *record) {
	if rec.kind == unix.PERF_RECORD_LOST {
		w.lost += rec.lost
		return
	}
	f, ok := w.tracker.take(rec)
	if !ok {
		return
	}
	if f.Major {
		w.samples[major]++
	} else {
		w.samples[minor]++
	}
	if w.admit(&f) {
		w.counts.Reported++
		w.ready = append(w.ready, f)
	}
}

// admit decides whether a fault is reported.
func (w *Watcher) admit(f *Fault) bool {
	foreign := f.PID != w.open.pid && !w.options.Children
	if foreign || !w.options.wants(f.Address) || w.options.Once && w.counts.Reported > 0 {
		w.counts.Filtered++
		return false
	}
	if w.aboveLimit(f.Time) {
		w.counts.Suppressed++
		return false
	}
	if w.options.Once {
		w.stopLocked()
	}
	return true
}

func (w *Watcher) aboveLimit(at time.Duration) bool {
	if w.options.MaxPerSecond == 0 {
		return false
	}
	if at-w.second >= time.Second {
		w.second, w.inSecond = at, 0
	}
	w.inSecond++
	return w.inSecond > uint64(w.options.MaxPerSecond)
}

// finish settles the accounts: what the kernel counted and nobody found is lost. A
// thread that was being created during Stop can go on with faults; those count too.
func (w *Watcher) finish() {
	w.finished = true
	w.counts.Minor = max(w.minus(minor), w.samples[minor])
	w.counts.Major = max(w.minus(major), w.samples[major])
	w.lost = w.counts.Total() - w.samples[minor] - w.samples[major]
}

// count reads the kernel's counters. A thread that was created while Watch was
// attaching can have been counted twice.
func (w *Watcher) count() error {
	n, err := w.open.counts()
	if err != nil {
		return err
	}
	w.kernel = n
	w.counts.Minor, w.counts.Major = w.minus(minor), w.minus(major)
	return nil
}

// minus returns the kernel's count without what it counted twice.
func (w *Watcher) minus(k kind) uint64 { return w.kernel[k] - min(w.kernel[k], w.tracker.twice[k]) }

// Counts returns how many faults there were so far. To know that, the kernel
// interrupts the CPUs where the target is running. Until Read has returned
// io.EOF, Lost is only what is known already, and with [Options].Durations may
// include beginnings of faults that were reported all the same.
func (w *Watcher) Counts() (Counts, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed && !w.finished {
		if err := w.count(); err != nil {
			return Counts{}, err
		}
	}
	c := w.counts
	c.Lost = w.lost
	return c, nil
}

// Pause ends reporting until Resume, at the cost of one ioctl for each thread
// and CPU of the target. Faults in between are not counted either.
func (w *Watcher) Pause() error {
	return w.switched(func() error {
		w.paused, w.interrupted = true, true
		return w.open.disable()
	})
}

// Resume goes on after Pause, or begins after [Options].Paused.
func (w *Watcher) Resume() error {
	return w.switched(func() error {
		w.paused = false
		err := w.open.enable()
		w.tracker.forget() // changes of mappings were not recorded either
		w.tracker.process(w.open.pid)
		return err
	})
}

func (w *Watcher) switched(do func() error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.stopped {
		return ErrClosed
	}
	return do()
}

// Stop ends the watch. Read still returns what there was until then.
func (w *Watcher) Stop() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return ErrClosed
	}
	return w.stopLocked()
}

func (w *Watcher) stopLocked() error {
	if w.stopped {
		return nil
	}
	w.stopped = true
	close(w.stop)
	return w.open.disable()
}

// Close ends the watch and frees what it needed. A Read that waits returns.
func (w *Watcher) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	if !w.stopped {
		close(w.stop)
	}
	w.count() // for Counts from now on
	return errors.Join(w.open.close(), w.life.close())
}
