// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/deferral"
	"github.com/taskiso/taskiso/internal/launch"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/trace"
)

const (
	posts    = 10_000_000
	barriers = 1000
)

// A thread on an isolated CPU is posted work ten million times from its sibling,
// and taskiso sees no interruption by it; with membarrier, the system call for
// the same purpose, it sees one each.
func TestGuestDeferralInterruptsNobody(t *testing.T) {
	events, phases := filepath.Join(t.TempDir(), "e.ndjson"), filepath.Join(t.TempDir(), "phases")
	w := startWatch(t, "--events", events)
	c := exec.Command(testBinary(t))
	c.Env = append(os.Environ(), postsVariable+"="+phases, "GODEBUG=asyncpreemptoff=1", "GOGC=off", "GOMAXPROCS=4")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("posting: %v\n%s", err, out)
	}
	r, _, out := w.stop(t)
	t.Log(out)
	if r.Lost.Events+r.Lost.Missed > 0 || !r.CPUs[0].Complete {
		t.Fatalf("lost %+v, so nothing is known", r.Lost)
	}
	breaks, counts := readLines[report.Break](t, events), map[string]map[string]int{}
	for _, p := range readLines[done](t, phases) {
		counts[p.Name] = countBreaks(breaks, p.From-r.Began, p.To-r.Began, uint32(c.Process.Pid))
		t.Logf("%s, in %v: %v", p.Name, p.To-p.From, counts[p.Name])
	}
	named := "of it" // the sender
	if !r.Sees(trace.SendCall.String()) {
		named = "ipi-function" // 6.1: nobody sees whose it was
	}
	if n := counts["post"][named]; n > 0 {
		t.Errorf("%d posts interrupted %d times", posts, n)
	}
	if n := counts["membarrier"][named]; n != barriers {
		t.Errorf("%d calls of membarrier interrupted %d times; the test would not notice an interruption", barriers, n)
	}
}

// countBreaks counts, by cause, the breaks in a time, and as "of it" those that
// process pid sent.
func countBreaks(breaks []report.Break, from, to time.Duration, pid uint32) map[string]int {
	counts := map[string]int{}
	for _, b := range breaks {
		if b.At < from || b.At > to {
			continue
		}
		counts[b.ID]++
		for _, o := range b.Origins {
			if o.PID == pid && !o.Interrupt {
				counts["of it"]++
				break
			}
		}
	}
	return counts
}

// postsVariable makes the test binary two threads, one of which is posted work
// by the other. It names the file to write the times of the two phases to.
const postsVariable = "TASKISO_TEST_POSTS"

const posterCPU = 2

func bePoster(file string) {
	if err := postTo(file); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func postTo(file string) error {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	d, err := deferral.Create(deferral.Options{Shared: true})
	if err != nil {
		return err
	}
	if err := call(unix.SYS_MEMBARRIER, registerPrivateExpedited); err != nil {
		return err
	}
	ready := make(chan error)
	var stop atomic.Bool
	var served atomic.Uint64
	go own(d, ready, &stop, &served)
	if err := <-ready; err != nil {
		return err
	}
	cpus, err := cpulist.New(posterCPU)
	if err == nil {
		err = launch.SetAffinity(0, cpus)
	}
	if err != nil {
		return err
	}
	time.Sleep(2 * time.Second)
	for _, p := range []struct {
		name  string
		times int
		do    func() error
	}{
		{"post", posts, func() error { _, err := d.Post(0, 0); return err }},
		{"membarrier", barriers, func() error { return call(unix.SYS_MEMBARRIER, privateExpedited) }},
	} {
		phase := done{Name: p.name, From: monotonic()}
		for range p.times {
			if err := p.do(); err != nil {
				return err
			}
		}
		time.Sleep(settle)
		phase.To = monotonic()
		if err := json.NewEncoder(out).Encode(phase); err != nil {
			return err
		}
	}
	stop.Store(true)
	if served.Load() == 0 {
		return fmt.Errorf("none of %d posts arrived", posts)
	}
	return nil
}

// own is the isolated side.
func own(d *deferral.Domain, ready chan<- error, stop *atomic.Bool, served *atomic.Uint64) {
	runtime.LockOSThread()
	cpus, err := cpulist.New(victimCPU)
	if err == nil {
		err = launch.SetAffinity(0, cpus)
	}
	var s *deferral.Slot
	if err == nil {
		s, err = d.Attach(0)
	}
	if err == nil {
		err = s.HandleKind(0, func() { served.Add(1) })
	}
	if err == nil {
		s.Enter()
	}
	ready <- err
	for err == nil && !stop.Load() {
		if s.Poll() {
			s.CatchUp()
		}
	}
}

// A domain in huge pages works as any other, for both sides; without a free
// huge page it is an error.
func TestGuestDeferralInHugePages(t *testing.T) {
	o := deferral.Options{Cells: 1, CellSize: 64, Queue: 4, MessageSize: 16, HugePages: true, Name: "huge"}
	if _, err := deferral.Create(o); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("without huge pages: %v, want %v", err, unix.ENOMEM)
	}
	const pool = "/proc/sys/vm/nr_hugepages"
	writeFile(t, pool, "2")
	defer writeFile(t, pool, "0")
	d, err := deferral.Create(o)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if n := freeHugePages(t); n != "1" {
		t.Errorf("%s huge pages are free with a domain in one of two", n)
	}
	f, err := d.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	peer, err := deferral.Open(f)
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	s, err := peer.Attach(0)
	if err != nil {
		t.Fatal(err)
	}
	var got string
	s.HandleKind(1, func() { got += "kind " })
	s.HandleCell(0, func(v []byte) { got += string(v) + " " })
	s.HandleMessages(func(m []byte) { got += string(m) })
	_, err1 := d.Post(0, 1)
	_, err2 := d.Publish(0, 0, []byte("value"))
	_, err3 := d.Send(0, []byte("message"))
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	s.Enter()
	if got != "kind value message" {
		t.Errorf("arrived: %q", got)
	}
	if _, err := d.Attach(0); !errors.Is(err, deferral.ErrBusy) {
		t.Errorf("attaching to a slot that has an owner: %v", err)
	}
	if err := s.Detach(); err != nil {
		t.Error(err)
	}
}

func freeHugePages(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if n, ok := strings.CutPrefix(line, "HugePages_Free:"); ok {
			return strings.TrimSpace(n)
		}
	}
	return "no line of"
}
