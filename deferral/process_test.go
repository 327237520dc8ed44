// SPDX-License-Identifier: Apache-2.0

package deferral

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
)

// These tests meet the C side (include/taskiso/deferral.h) in one domain,
// across processes.

var buildPeer = sync.OnceValues(func() (string, error) {
	return compilePeer("gcc", "-std=c11", "-Wextra", "-Werror")
})

func compilePeer(compiler string, flags ...string) (string, error) {
	dir, err := os.MkdirTemp("", "deferral")
	if err != nil {
		return "", err
	}
	peer := filepath.Join(dir, "peer")
	args := append(flags, "-O2", "-Wall", "-I../include", "-o", peer, "testdata/peer.c")
	if out, err := exec.Command(compiler, args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("compiling testdata/peer.c with %s %v: %w\n%s", compiler, flags, err, out)
	}
	return peer, nil
}

func TestMain(m *testing.M) {
	code := m.Run()
	if peer, err := buildPeer(); err == nil {
		os.RemoveAll(filepath.Dir(peer))
	}
	os.Exit(code)
}

// peer is a process of the C side.
type peer struct {
	*exec.Cmd
	out *bufio.Reader
}

func startPeer(t *testing.T, d *Domain, args ...string) peer {
	t.Helper()
	path, err := buildPeer()
	if err != nil {
		t.Fatal(err)
	}
	return startPeerAt(t, path, d, args...)
}

func startPeerAt(t *testing.T, path string, d *Domain, args ...string) peer {
	t.Helper()
	cmd := exec.Command(path, args...)
	f, err := d.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd.ExtraFiles = []*os.File{f}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return peer{cmd, bufio.NewReader(out)}
}

func (p peer) line(t *testing.T) string {
	t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		t.Fatalf("reading from the peer: %v", err)
	}
	return strings.TrimSpace(line)
}

func (p peer) end(t *testing.T) string {
	t.Helper()
	out, _ := io.ReadAll(p.out)
	if err := p.Wait(); err != nil {
		t.Fatalf("peer %v: %v\n%s", p.Args[1:], err, out)
	}
	return strings.TrimSpace(string(out))
}

func sharedValues(t *testing.T) *Domain {
	return create(t, Options{Slots: 2, Cells: 1, CellSize: 112, Queue: 16, MessageSize: 112, Shared: true})
}

func TestLayoutIsTheSameInC(t *testing.T) {
	var r slotRecord
	want := fmt.Sprint(unsafe.Sizeof(header{}), unsafe.Sizeof(r), unsafe.Offsetof(r.done), unsafe.Offsetof(r.head),
		unsafe.Offsetof(r.post), unsafe.Offsetof(r.tail), unsafe.Offsetof(r.pin))
	if got := startPeer(t, sharedValues(t), "size").end(t); got != want {
		t.Errorf("C has %s, Go %s", got, want)
	}
}

func TestCOwnerGoPoster(t *testing.T) {
	d := sharedValues(t)
	owner := startPeer(t, d, "owner", "1")
	if owner.line(t) != "ready" {
		t.Fatal("owner is not ready")
	}
	if _, err := d.Attach(1); !errors.Is(err, ErrBusy) {
		t.Errorf("attached to a slot owned by another process: %v", err)
	}
	c, _ := NewCell[value](d, 0)
	q, _ := NewQueue[value](d)
	n := operations(t)
	var last Ticket
	for id := range n {
		for {
			_, err := q.Send(1, newValue(id))
			if err == nil {
				break
			}
			if !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
		}
		last = must(t)(c.Publish(1, newValue(id)))
		if id%1000 == 0 {
			if err := d.Synchronize(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := last.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	must(t)(d.Post(1, 23))
	var values, messages, torn, disorder, lastValue, lastMessage, corrupt uint64
	if _, err := fmt.Sscan(owner.end(t), &values, &messages, &torn, &disorder, &lastValue, &lastMessage, &corrupt); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d sent and published, %d values seen", n, values)
	if messages != n || torn != 0 || disorder != 0 || lastValue != n-1 || lastMessage != n-1 || corrupt != 0 || values == 0 {
		t.Errorf("values %d, messages %d of %d, torn %d, disorder %d, last %d %d, corrupt %d", values, messages, n, torn, disorder, lastValue, lastMessage, corrupt)
	}
}

func TestGoOwnerCPoster(t *testing.T) {
	d := sharedValues(t)
	s := attach(t, d, 0)
	defer s.Detach()
	n := operations(t)
	var messages, lastValue uint64
	stop := false
	c, _ := NewCell[value](d, 0)
	q, _ := NewQueue[value](d)
	c.Handle(s, func(v value) {
		if v.torn() || v.id < lastValue {
			t.Errorf("value %v after %d", v, lastValue)
		}
		lastValue = v.id
	})
	q.Handle(s, func(v value) {
		if v.torn() || v.id != messages {
			t.Errorf("message %v instead of %d", v, messages)
		}
		messages++
	})
	s.HandleKind(23, func() { stop = true })
	s.Enter()
	poster := startPeer(t, d, "poster", "0", fmt.Sprint(n))
	for end := time.Now().Add(20 * time.Second); !stop && time.Now().Before(end); {
		if s.Poll() {
			s.CatchUp()
		}
	}
	s.Exit()
	poster.end(t)
	if messages != n || lastValue != n-1 || s.Err() != nil {
		t.Errorf("%d messages of %d, last value %d, err %v", messages, n, lastValue, s.Err())
	}
	if got := startPeer(t, d, "pin", "0").end(t); got != "0 1" {
		t.Errorf("C run pinned on an absent slot: %s", got)
	}
	s.Enter()
	if got := startPeer(t, d, "pin", "0").end(t); got != "-16 0" {
		t.Errorf("C run pinned on an online slot: %s", got)
	}
	var synced atomic.Bool
	sync := startPeer(t, d, "sync", "100")
	go func() { sync.Wait(); synced.Store(true) }()
	for !synced.Load() {
		if s.Poll() {
			s.CatchUp()
		}
	}
	s.Exit()
	if !sync.ProcessState.Success() {
		t.Error("C synchronise failed")
	}
}

func TestCRefusesBadArguments(t *testing.T) {
	if out := startPeer(t, sharedValues(t), "bad").end(t); out != "" {
		t.Error(out)
	}
}

func TestDeadOwnerIsNotWaitedFor(t *testing.T) {
	d := sharedValues(t)
	owner := startPeer(t, d, "hang", "0")
	owner.line(t)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
	defer cancel()
	if err := d.Synchronize(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a living owner was not waited for: %v", err)
	}
	owner.Process.Kill()
	owner.Wait()
	start := time.Now()
	if err := d.Synchronize(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("dead owner noticed after %v", time.Since(start))
	s := attach(t, d, 0)
	s.Enter()
	s.Detach()
}

// A slot can be taken over at once, without anybody having noticed the death.
func TestSlotOfADeadOwnerCanBeTaken(t *testing.T) {
	d := sharedValues(t)
	owner := startPeer(t, d, "hang", "0")
	owner.line(t)
	owner.Process.Kill()
	owner.Wait()
	must(t)(d.Post(0, 5))
	s := attach(t, d, 0)
	calls := 0
	s.HandleKind(5, func() { calls++ })
	s.Enter()
	if calls != 1 {
		t.Errorf("work posted to a dead owner was done %d times by the next", calls)
	}
	s.Detach()
}

func TestDeadPosterLeavesNoTornCell(t *testing.T) {
	d := sharedValues(t)
	c, _ := NewCell[value](d, 0)
	s := attach(t, d, 0)
	defer s.Detach()
	s.Enter()
	must(t)(c.Publish(0, newValue(1)))
	s.CatchUp()
	poster := startPeer(t, d, "grab", "0")
	poster.line(t)
	if _, err := c.Publish(0, newValue(2)); !errors.Is(err, ErrBusy) {
		t.Errorf("lock of a living peer was broken: %v", err)
	}
	s.CatchUp()
	if v, ok := c.Load(s); !ok || v != newValue(1) {
		t.Errorf("value while a publisher is in the middle: %v", v)
	}
	poster.Process.Kill()
	poster.Wait()
	must(t)(c.Publish(0, newValue(3)))
	s.CatchUp()
	if v, ok := c.Load(s); !ok || v != newValue(3) {
		t.Errorf("value after a dead publisher: %v", v)
	}
}

// Nobody but the owner itself is there to notice.
func TestEnterDoesNotWaitForADeadPinner(t *testing.T) {
	d := sharedValues(t)
	s := attach(t, d, 0)
	defer s.Detach()
	pinner := startPeer(t, d, "nail", "0")
	pinner.line(t)
	entered := make(chan bool)
	go func() { s.Enter(); s.Exit(); close(entered) }()
	select {
	case <-entered:
		t.Error("entered a slot that was pinned by a living peer")
	case <-time.After(50 * time.Millisecond):
	}
	pinner.Process.Kill()
	pinner.Wait()
	select {
	case <-entered:
	case <-time.After(5 * time.Second):
		t.Fatal("waits for a dead pinner")
	}
}

// The header is C++17 as well, to each compiler, with every warning; and a peer in C++ has
// the same layout and serves.
func TestHeaderIsCPlusPlus(t *testing.T) {
	source := filepath.Join(t.TempDir(), "t.cc")
	if err := os.WriteFile(source, []byte("#include <taskiso/deferral.h>\nint main() { return 0; }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	want := startPeer(t, sharedValues(t), "size").end(t)
	for _, compiler := range []string{"g++", "clang++-16"} {
		if _, err := exec.LookPath(compiler); err != nil {
			t.Logf("%s is not installed", compiler)
			continue
		}
		for _, standard := range []string{"-std=c++17", "-std=c++20", "-std=c++2b"} {
			if out, err := exec.Command(compiler, standard, "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I../include", source).CombinedOutput(); err != nil {
				t.Errorf("compiling the header with %s %s: %v\n%s", compiler, standard, err, out)
			}
		}
		path, err := compilePeer(compiler, "-xc++", "-std=c++17", "-U_GNU_SOURCE")
		if err != nil {
			t.Error(err)
			continue
		}
		defer os.RemoveAll(filepath.Dir(path))
		if got := startPeerAt(t, path, sharedValues(t), "size").end(t); got != want {
			t.Errorf("%s has the layout %s, C %s", compiler, got, want)
		}
		serveOne(t, path)
	}
}

// serveOne has a peer own a slot, and stop when it is told so.
func serveOne(t *testing.T, path string) {
	d := sharedValues(t)
	owner := startPeerAt(t, path, d, "owner", "1")
	if owner.line(t) != "ready" {
		t.Fatal("owner is not ready")
	}
	if _, err := d.Post(1, 23); err != nil {
		t.Fatal(err)
	}
	t.Log(owner.end(t))
}

// The C side in corrupted memory: it may refuse, but not crash.
func TestCSurvivesCorruptedMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peer")
	out, err := exec.Command("gcc", "-std=c11", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
		"-I../include", "-o", path, "testdata/peer.c").CombinedOutput()
	if err != nil {
		t.Skipf("compiling with sanitizers: %v\n%s", err, out)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	runs := 150
	if testing.Short() {
		runs = 20
	}
	refused := 0
	for run := range runs {
		d, err := Create(Options{Cells: 1, CellSize: 112, Queue: 4, MessageSize: 112, Shared: true})
		if err != nil {
			t.Fatal(err)
		}
		at := corruptAtRandom(d, rng)
		f, err := d.File()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(path, "use", "0")
		cmd.ExtraFiles = []*os.File{f}
		out, err := cmd.CombinedOutput()
		f.Close()
		d.Close()
		var exit *exec.ExitError
		switch {
		case err == nil:
		case errors.As(err, &exit) && exit.ExitCode() == 1 && !bytes.Contains(out, []byte("ERROR")) && !bytes.Contains(out, []byte("runtime error")):
			refused++
		default:
			t.Errorf("run %d, corrupted at %d: %v\n%s", run, at, err, out)
		}
	}
	t.Logf("%d runs, %d refused to open", runs, refused)
}

// corruptAtRandom overwrites up to 32 bytes, more often those with a meaning.
// It spares locks, whose wait is bounded but long, and the pin.
func corruptAtRandom(d *Domain, rng *rand.Rand) int {
	places := []int{0, 8, 24, headerSize, headerSize + 128, headerSize + 264, headerSize + recordSize, rng.IntN(len(d.mem.bytes))}
	at := places[rng.IntN(len(places))]
	for i := range 1 + rng.IntN(32) {
		if at+i < len(d.mem.bytes) {
			d.mem.bytes[at+i] = byte(rng.Uint32())
		}
	}
	r := d.slots[0]
	r.state &^= pinBit
	r.post, r.pin = 0, 0
	return at
}

// A peer that joins under the number of a dead one releases what that one held.
func TestSuccessorReleasesTheDead(t *testing.T) {
	d := sharedValues(t)
	poster := startPeer(t, d, "grab", "0")
	poster.line(t)
	poster.Process.Kill()
	poster.Wait()
	f, err := d.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	next, err := Open(f)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if next.peer != 1 || d.slots[0].post != 0 {
		t.Errorf("peer %d, lock word %d", next.peer, d.slots[0].post)
	}
}
