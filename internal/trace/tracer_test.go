// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/topology"
)

// busySyscalls makes n getppid calls on a thread of its own, on a CPU, and reports its number first.
func busySyscalls(cpu int, tid chan<- int, start <-chan struct{}, n int, done chan<- struct{}) {
	runtime.LockOSThread() // never unlocked: the thread ends with its changed affinity
	if err := affinity.Pin(cpu); err != nil {
		panic(err)
	}
	tid <- unix.Gettid()
	<-start
	for range n {
		unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
	}
	close(done)
	select {}
}

func needBPF(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("loading BPF programs needs root")
	}
}

func TestEverySyscallIsReportedOrLost(t *testing.T) {
	needBPF(t)
	cpu := lastOnline(t)
	for name, ringBytes := range map[string]int{"roomy": 16 << 20, "tiny": 4096} {
		t.Run(name, func(t *testing.T) {
			const calls = 100_000
			tracer, err := Open(Config{CPUs: mustParse(t, strconv.Itoa(cpu)), PossibleCPUs: possibleCPUs(t), RingBytes: ringBytes})
			if err != nil {
				t.Fatal(err)
			}
			defer tracer.Close()

			tid, start, done := make(chan int), make(chan struct{}), make(chan struct{})
			go busySyscalls(cpu, tid, start, calls, done)
			worker := <-tid
			if err := tracer.Watch(worker); err != nil {
				t.Fatal(err)
			}
			if err := tracer.Start(); err != nil {
				t.Fatal(err)
			}
			close(start)

			var reported, lost uint64
			kinds := map[event.Kind]int{}
			var last time.Duration
			read := func() {
				b, err := tracer.Read()
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range b.Events {
					kinds[e.Kind]++
					if e.Time < last {
						t.Errorf("event %v at %v after one at %v", e.Kind, e.Time, last)
					}
					last = e.Time
					if e.Kind == event.SyscallEnter && e.A == unix.SYS_GETPPID {
						if int(e.TID) != worker || e.CPU != cpu || e.UserIP == 0 {
							t.Fatalf("getppid of thread %d on CPU %d reported as %+v", worker, cpu, e)
						}
						reported++
					}
				}
				lost += b.Lost[cpu]
			}
			for finished := false; !finished; {
				select {
				case <-done:
					finished = true
				case <-time.After(5 * time.Millisecond):
				}
				read()
			}
			time.Sleep(time.Millisecond)
			read()
			lostCalls := tracer.Lost(cpu, event.SyscallEnter)
			seen := tracer.Seen(cpu, event.SyscallEnter)
			t.Logf("reported %d, lost %d of all kinds, %d entries; seen %d", reported, lost, lostCalls, seen)
			t.Logf("kinds: %v", kinds)
			missed, err := tracer.Missed()
			if err != nil {
				t.Error(err)
			}
			// The kernel counts what was missed for the whole machine, but here it was only if this CPU noted it.
			if tracer.Preempted(cpu) == 0 {
				missed = 0
			}
			if reported+lostCalls+missed < calls {
				t.Errorf("reported %d, lost %d and missed %d of %d calls", reported, lostCalls, missed, calls)
			}
			if reported > calls || lost == 0 && lostCalls > 0 {
				t.Errorf("reported %d of %d calls, some twice; lost %d, %d calls", reported, calls, lost, lostCalls)
			}
			if name == "roomy" && lost != 0 {
				t.Errorf("lost %d events with a roomy ring buffer", lost)
			}
			if name == "tiny" && lost == 0 {
				t.Error("lost nothing with a ring buffer of one page")
			}
		})
	}
}

// endless is a ring buffer that is filled faster than it is read.
type endless struct{ read int }

func (r *endless) ReadInto(rec *ringbuf.Record) error {
	r.read++
	rec.RawSample = record(event.SyscallEnter, taskWatched)
	return nil
}
func (r *endless) SetDeadline(time.Time) {}
func (r *endless) BufferSize() int       { return 8192 }
func (r *endless) AvailableBytes() int   { return 4096 }
func (r *endless) Close() error          { return nil }

// A CPU that records as fast as it is read does not hold up the reader: of its
// ring, no more is taken than was there, or than fits in if it is all of before.
func TestFloodDoesNotHoldUpTheReader(t *testing.T) {
	for until, bytes := range map[time.Duration]int{-1: 4096, time.Hour: 8192} { // what comes is later than that, or earlier
		flood := &endless{}
		events, err := ring{reader: flood}.drain(nil, until)
		if want := bytes/(recordHeader+eventSize) + 1; err != nil || len(events) != want || flood.read != want {
			t.Errorf("until %v: %d events of %d records, error %v; want %d", until, len(events), flood.read, err, want)
		}
	}
}

// A reader that was kept from reading makes room for all at once: growing by and by leaves garbage of several times that.
func TestBatchHasRoomForWhatIsThere(t *testing.T) {
	tracer := &Tracer{rings: []ring{{reader: &endless{}}, {reader: &endless{}}}, later: make([]event.Event, 3)}
	if got, least := cap(tracer.emptyBatch()), 3+2*(4096/(recordHeader+eventSize)); got < least {
		t.Errorf("room for %d events, want %d at least", got, least)
	}
	tracer.batch = make([]event.Event, 5, 1000)
	if b := tracer.emptyBatch(); len(b) != 0 || cap(b) != 1000 {
		t.Errorf("%d events and room for %d, want the room that there was", len(b), cap(b))
	}
}

// lastOnline returns a CPU to watch, beside one to watch from.
func lastOnline(t testing.TB) int {
	t.Helper()
	cpus, err := topology.Online(os.DirFS("/"))
	if err != nil {
		t.Fatal(err)
	}
	if cpus.Len() < 2 {
		t.Skip("a CPU to watch and one to watch from are needed")
	}
	last, _ := cpus.Last()
	return last
}

// possibleCPUs is asked of the kernel: runtime.NumCPU tells only those on which
// this process may run.
func possibleCPUs(t testing.TB) int {
	t.Helper()
	cpus, err := topology.Possible(os.DirFS("/"))
	if err != nil {
		t.Fatal(err)
	}
	last, _ := cpus.Last()
	return last + 1
}

func mustParse(t testing.TB, s string) cpulist.Set {
	t.Helper()
	set, err := cpulist.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return set
}
