// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// threaded is a program with threads.
type threaded struct {
	threads int
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
}

const manyThreads = 10_000

func startThreaded(t *testing.T, threads int) *threaded {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip(err)
	}
	p := &threaded{threads: threads, command: exec.Command(compile(t, "threads", "-O2"), strconv.Itoa(threads))}
	in, err := p.command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.in, p.out = in, bufio.NewReader(out)
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.command.Process.Kill(); p.command.Wait() })
	return p
}

// next lets it create its threads, or write with them.
func (p *threaded) next(t *testing.T) {
	t.Helper()
	if _, err := p.in.Write([]byte{'\n'}); err != nil {
		t.Fatal(err)
	}
}

// pages says where its threads are going to write, once they are there.
func (p *threaded) pages(t *testing.T) Range {
	t.Helper()
	var start uint64
	if _, err := fmt.Fscanln(p.out, &start); err != nil {
		t.Skipf("creating %d threads: %v", p.threads, err)
	}
	return Range{start, start + uint64(p.threads*page)}
}

// wantAll checks that each thread had its fault, or that it is counted as lost.
func (p *threaded) wantAll(t *testing.T, w *Watcher, pages Range) {
	t.Helper()
	faults, c := readAll(t, w)
	seen, tids := make(map[uint64]bool), make(map[int]bool)
	for _, f := range faults {
		if pages.contains(f.Address) {
			seen[f.Address], tids[f.TID] = true, true
		}
	}
	if len(seen) != len(tids) || len(seen) > p.threads || len(seen)+int(c.Lost) < p.threads || c.Minor < uint64(p.threads) {
		t.Errorf("%d faults of %d threads, %d lost; want %d; counts %+v", len(seen), len(tids), c.Lost, p.threads, c)
	}
	t.Logf("%d faults of %d threads; counts %+v", len(seen), len(tids), c)
}

// Threads inherit the events of their creator: no matter how many come, they need no
// descriptors.
func TestManyThreadsToCome(t *testing.T) {
	p := startThreaded(t, manyThreads)
	before := descriptors(t)
	w := watchTest(t, Process(p.command.Process.Pid), Options{})
	if used, cpus := descriptors(t)-before, len(w.open.cpus); used != 2*cpus+1 {
		t.Errorf("%d descriptors for %d CPUs", used, cpus)
	}
	if w.open.layout != (layout{}) {
		t.Errorf("layout %+v: the number of the event costs, and nobody needs it", w.open.layout)
	}
	p.next(t)
	pages := p.pages(t)
	p.next(t)
	p.wantAll(t, w, pages)
}

// This process has more than one thread: one of them could come by two events.
func TestSamplesOfThreadsNameTheEvent(t *testing.T) {
	if w := watchTest(t, Process(0), Options{}); w.open.layout != (layout{ids: true}) || len(w.tracker.owners) < 4 {
		t.Errorf("layout %+v", w.open.layout)
	}
	onThread(t)
	if w := watchTest(t, Thread(0), Options{}); w.open.layout != (layout{pid: os.Getpid(), tid: unix.Gettid()}) {
		t.Errorf("layout %+v", w.open.layout)
	}
}

// A thread's end takes the longer the more threads share its buffer.
func TestThreadsShareBuffers(t *testing.T) {
	p := startThreaded(t, 3*groupsPerRing)
	p.next(t)
	pages := p.pages(t)
	w := watchTest(t, Process(p.command.Process.Pid), Options{})
	if got, want := len(w.open.rings), 4*len(w.open.cpus); got != want && os.Geteuid() == 0 {
		t.Errorf("%d buffers, want %d", got, want)
	}
	p.next(t)
	p.wantAll(t, w, pages)
}

// Threads that came during a pause have inherited, which no record tells: they are not
// attached to once more.
func TestThreadsOfAPause(t *testing.T) {
	p := startThreaded(t, 5)
	w := watchTest(t, Process(p.command.Process.Pid), Options{Paused: true})
	p.next(t)
	pages := p.pages(t)
	if err := w.Resume(); err != nil {
		t.Fatal(err)
	}
	groups := len(w.open.groups)
	found := make(chan int)
	go func() {
		n := 0
		for f, err := w.Read(); err == nil; f, err = w.Read() {
			if pages.contains(f.Address) {
				n++
			}
		}
		found <- n
	}()
	time.Sleep(3 * adoptInterval)
	p.next(t)
	if n := <-found; n != p.threads || len(w.open.groups) != groups {
		t.Errorf("%d faults, want %d; %d groups of events, were %d", n, p.threads, len(w.open.groups), groups)
	}
}

// Threads that are there already need two descriptors for each CPU. Where that is
// more than a process may have, the error says what to do, and nothing stays open.
func TestManyThreads(t *testing.T) {
	p := startThreaded(t, manyThreads)
	p.next(t)
	pages := p.pages(t)
	before := descriptors(t)
	w, err := Watch(Process(p.command.Process.Pid), Options{})
	if err == nil {
		defer w.Close()
		p.next(t)
		p.wantAll(t, w, pages)
		return
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	t.Log(err)
	for _, want := range []string{fmt.Sprint(limit.Cur), fmt.Sprint(manyThreads + 1), "ulimit -n"} {
		if !errors.Is(err, ErrTooManyFiles) || !strings.Contains(err.Error(), want) {
			t.Errorf("watching: %v; want %q in it", err, want)
		}
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors are open, %d were before", after, before)
	}
}

// descriptors returns how many this process has.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
