// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/deferral"
	"github.com/taskiso/taskiso/internal/report"
)

// postsProgram is testdata/posts.c. It is not in Go, whose scheduler makes system
// calls on every thread now and then.
const (
	postsProgram = "/bin/posts"
	posterCPU    = 2
	posts        = 10_000_000
	barriers     = 500
)

// A thread on an isolated CPU is posted work ten million times by its sibling,
// and taskiso sees no interruption by it; with membarrier, the system call for
// the same purpose, it sees one each.
func TestGuestPostsInterruptNobody(t *testing.T) {
	domain, err := deferral.Create(deferral.Options{Shared: true})
	if err != nil {
		t.Fatal(err)
	}
	defer domain.Close()
	file, err := domain.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	events := filepath.Join(t.TempDir(), "e.ndjson")
	w := startWatch(t, "--events", events)
	c := exec.Command(postsProgram, fmt.Sprint(victimCPU), fmt.Sprint(posterCPU), fmt.Sprint(posts), fmt.Sprint(barriers))
	c.ExtraFiles = []*os.File{file}
	phases, err := c.Output()
	if err != nil {
		t.Fatalf("posting: %v", err)
	}
	r, _, out := w.stop(t)
	t.Log(out)
	if cpu := r.CPUs[0]; cpu.Lost+cpu.Preempted > 0 || !cpu.Complete {
		t.Fatalf("lost %+v, preempted %d times, so nothing is known", r.Lost, cpu.Preempted)
	}
	t.Logf("%s", phases)
	breaks := readLines[report.Break](t, events)
	post := countBreaks(t, breaks, r.Began, "post", phases, c.Process.Pid)
	barrier := countBreaks(t, breaks, r.Began, "membarrier", phases, c.Process.Pid)
	if post["syscall"]+post["from it"]+post["from nobody"] > 0 {
		t.Errorf("%d posts: %v", posts, post)
	}
	// A few find the CPU in the kernel already, for another reason.
	if n := barrier["from it"]; n < barriers*9/10 || n > barriers+barriers/10 {
		t.Errorf("%d calls of membarrier: %v; the test would not notice an interruption", barriers, barrier)
	}
}

// countBreaks counts, by cause, the breaks in a phase that a program printed, as
// "from it" those that process pid caused, and as "from nobody" function calls
// whose sender was not seen where others were.
func countBreaks(t *testing.T, breaks []report.Break, began time.Duration, phase string, phases []byte, pid int) map[string]int {
	t.Helper()
	var from, to time.Duration
	for line := range strings.Lines(string(phases)) {
		if words := strings.Fields(line); words[0] == phase {
			fmt.Sscan(words[1], (*int64)(&from))
			fmt.Sscan(words[2], (*int64)(&to))
		}
	}
	counts := map[string]int{}
	for _, b := range breaks {
		if at := began + b.At; at < from || at > to {
			continue
		}
		counts[b.ID]++
		if slices.ContainsFunc(b.Origins, func(o report.Origin) bool { return o.PID == uint32(pid) && !o.Interrupt }) {
			counts["from it"]++
		}
		if len(b.Origins) == 0 && b.ID != "ipi-function" && strings.HasPrefix(b.ID, "ipi-") {
			counts["from nobody"]++
		}
	}
	t.Logf("%s, in %v: %v", phase, to-from, counts)
	return counts
}

// A domain in huge pages works as any other, for both sides; without a free
// huge page it is an error.
func TestGuestPostsInHugePages(t *testing.T) {
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
