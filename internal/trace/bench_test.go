// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/affinity"
)

// BenchmarkOpen is the time from nothing to an attached observation of one CPU,
// and back. Switching tracepoints on and off patches kernel text.
func BenchmarkOpen(b *testing.B) {
	needRoot(b)
	for b.Loop() {
		tracer, err := Open(Config{CPUs: mustParse(b, "1"), PossibleCPUs: possibleCPUs(b)})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := tracer.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkSyscall is one system call, alone and observed. The difference is
// the cost of two events.
func BenchmarkSyscall(b *testing.B) {
	loop := func(b *testing.B) {
		for b.Loop() {
			unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
		}
	}
	pin := func(b *testing.B) int {
		runtime.LockOSThread() // never unlocked: the thread ends with its changed affinity
		if err := affinity.Pin(1); err != nil {
			b.Fatal(err)
		}
		return unix.Gettid()
	}
	b.Run("alone", func(b *testing.B) { pin(b); loop(b) })
	b.Run("observed elsewhere", func(b *testing.B) {
		needRoot(b)
		pin(b)
		observeLoop(b, "0", 0)
		loop(b)
	})
	b.Run("observed", func(b *testing.B) {
		needRoot(b)
		observeLoop(b, "1", pin(b))
		loop(b)
	})
}

// observeLoop traces until the benchmark ends, with the ring buffer drained.
func observeLoop(b *testing.B, cpus string, tid int) {
	tracer, err := Open(Config{CPUs: mustParse(b, cpus), PossibleCPUs: possibleCPUs(b)})
	if err != nil {
		b.Fatal(err)
	}
	if tid != 0 {
		if err := tracer.Watch(tid); err != nil {
			b.Fatal(err)
		}
	}
	if err := tracer.Start(); err != nil {
		b.Fatal(err)
	}
	stop, drained := make(chan struct{}), make(chan uint64)
	go func() {
		var lost uint64
		for {
			batch, err := tracer.Read()
			if err != nil {
				b.Error(err)
			}
			for _, n := range batch.Lost {
				lost += n
			}
			select {
			case <-stop:
				drained <- lost
				return
			default:
				runtime.Gosched()
			}
		}
	}()
	b.Cleanup(func() {
		close(stop)
		b.ReportMetric(float64(<-drained), "lost")
		tracer.Close()
	})
}

func needRoot(b *testing.B) {
	b.Helper()
	if os.Geteuid() != 0 {
		b.Skip("tracing needs root")
	}
}
