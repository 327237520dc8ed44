// SPDX-License-Identifier: Apache-2.0

package posting

import (
	"context"
	"math"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/taskiso/taskiso/deferral"
	"github.com/taskiso/taskiso/internal/affinity"
)

const runs = 25

// measure returns the nanoseconds of one operation: the least of several runs,
// because the machine may have other work.
func measure(n int, f func(n int)) float64 {
	f(n/10 + 1)
	least := math.Inf(1)
	for range runs {
		start := time.Now()
		f(n)
		least = min(least, float64(time.Since(start).Nanoseconds())/float64(n))
	}
	return least
}

// pin binds the calling goroutine to a thread and the thread to a CPU.
func pin(cpu int) error {
	runtime.LockOSThread()
	return affinity.Pin(cpu)
}

// beside runs f again and again on another CPU until stop is called.
func beside(cpu int, begin, f, end func()) (stop func()) {
	var halt atomic.Bool
	ready, done := make(chan error), make(chan bool)
	go func() {
		defer close(done)
		ready <- pin(cpu) // the thread ends with the goroutine: it is not unlocked
		begin()
		for !halt.Load() {
			f()
		}
		end()
	}()
	<-ready
	return func() { halt.Store(true); <-done }
}

type padded struct {
	_ [128]byte
	v atomic.Uint64
	_ [120]byte
}

func nothing() {}

func (r numbers) measureGo(binary string, poster, owner int) error {
	d, err := deferral.Create(deferral.Options{Slots: 2, Cells: 1, CellSize: 64, Queue: 16, MessageSize: 64, Shared: true})
	if err != nil {
		return err
	}
	defer d.Close()
	s, err := d.Attach(0)
	if err != nil {
		return err
	}
	defer s.Detach()
	defer runtime.UnlockOSThread()
	before, err := affinity.Of(0)
	if err != nil {
		return err
	}
	if err := pin(poster); err != nil {
		return err
	}
	defer affinity.Set(0, before)
	r.single(d, s)
	r.pairs(d, s, owner)
	return r.synchronize(d, s, func(r numbers) error { return r.runC(binary, 1, poster, owner, "urcu") }, owner)
}

// single measures operations without anybody on the other side.
func (r numbers) single(d *deferral.Domain, s *deferral.Slot) {
	var plain padded
	// Eight at a time, so that the loop around them does not count.
	r["go-load"] = measure(10_000_000, func(n int) {
		for range n / 8 {
			//lint:ignore SA4000 each of the eight looks again
			if plain.v.Load() != 0 || plain.v.Load() != 0 || plain.v.Load() != 0 || plain.v.Load() != 0 || plain.v.Load() != 0 || plain.v.Load() != 0 || plain.v.Load() != 0 || plain.v.Load() != 0 {
				panic("load")
			}
		}
	})
	same := &struct{ flag *atomic.Uint64 }{&plain.v}
	r["go-load-pointer"] = measure(10_000_000, func(n int) {
		for range n / 8 {
			//lint:ignore SA4000 each of the eight looks again
			if same.flag.Load() != 0 || same.flag.Load() != 0 || same.flag.Load() != 0 || same.flag.Load() != 0 || same.flag.Load() != 0 || same.flag.Load() != 0 || same.flag.Load() != 0 || same.flag.Load() != 0 {
				panic("load")
			}
		}
	})
	r["go-poll"] = measure(10_000_000, func(n int) {
		for range n / 8 {
			//lint:ignore SA4000 each of the eight looks again
			if s.Poll() || s.Poll() || s.Poll() || s.Poll() || s.Poll() || s.Poll() || s.Poll() || s.Poll() {
				panic("poll")
			}
		}
	})
	r["go-enter-exit"] = measure(1_000_000, func(n int) {
		for range n {
			s.Enter()
			s.Exit()
		}
	})
	r["go-post"] = measure(1_000_000, func(n int) {
		for range n {
			d.Post(1, 0)
		}
	})
	var value [8]uint64
	cell, err := deferral.NewCell[[8]uint64](d, 0)
	if err != nil {
		panic(err)
	}
	r["go-publish"] = measure(500_000, func(n int) {
		for range n {
			cell.Publish(1, value)
		}
	})
	var v atomic.Value
	v.Store(&value)
	r["go-value-load"] = measure(2_000_000, func(n int) {
		for range n {
			if v.Load() == nil {
				panic("value")
			}
		}
	})
	r["go-value-store"] = measure(2_000_000, func(n int) {
		for range n {
			copied := value
			v.Store(&copied)
		}
	})
	c := make(chan int, 1)
	r["go-chan-poll"] = measure(2_000_000, func(n int) {
		for range n {
			select {
			case <-c:
				panic("chan")
			default:
			}
		}
	})
	r["go-chan-post"] = measure(2_000_000, func(n int) {
		for range n {
			c <- 1
			<-c
		}
	})
}

// pairs measures round trips with a busy thread on the other CPU.
func (r numbers) pairs(d *deferral.Domain, s *deferral.Slot, owner int) {
	measured := make([]numbers, 15)
	for i := range measured { // see the C half
		measured[i] = numbers{"go-ping-pong": pingPong(owner), "go-post-seen": postSeen(d, s, owner)}
	}
	r.median(measured, "go-post-seen", "go-ping-pong")
	in, out := make(chan int, 1), make(chan int, 1)
	stop := beside(owner, nothing, func() {
		select {
		case v := <-in:
			out <- v
		default:
		}
	}, nothing)
	r["go-chan-seen"] = measure(2_000, func(n int) {
		for range n {
			in <- 1
			<-out
		}
	})
	stop()
}

// synchronize is measured in pairs with liburcu-qsbr, which is another process.
func (r numbers) synchronize(d *deferral.Domain, s *deferral.Slot, urcu func(numbers) error, owner int) error {
	measured := make([]numbers, 7)
	for i := range measured {
		measured[i] = numbers{}
		if err := urcu(measured[i]); err != nil {
			return err
		}
		stop := busy(s, owner)
		measured[i]["go-synchronize"] = measure(5_000, func(n int) {
			for range n {
				if err := d.Synchronize(context.Background()); err != nil {
					panic(err)
				}
			}
		})
		stop()
	}
	r.median(measured, "go-synchronize", "c-urcu-beside-go")
	return nil
}

// busy runs the owner of a slot.
func busy(s *deferral.Slot, cpu int) (stop func()) {
	return beside(cpu, s.Enter, func() {
		if s.Poll() {
			s.CatchUp()
		}
	}, s.Exit)
}

func pingPong(cpu int) float64 {
	var ball padded
	stop := beside(cpu, nothing, func() {
		if v := ball.v.Load(); v&1 != 0 {
			ball.v.Store(v + 1)
		}
	}, nothing)
	defer stop()
	return measure(5_000, func(n int) {
		for range n {
			v := ball.v.Load() + 1
			ball.v.Store(v)
			for ball.v.Load() == v {
			}
		}
	})
}

func postSeen(d *deferral.Domain, s *deferral.Slot, cpu int) float64 {
	stop := busy(s, cpu)
	defer stop()
	return measure(5_000, func(n int) {
		for range n {
			t, _ := d.Post(0, 0)
			for !t.Seen() {
			}
		}
	})
}
