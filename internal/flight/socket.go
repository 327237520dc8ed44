// SPDX-License-Identifier: Apache-2.0

package flight

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/claim"
	"github.com/taskiso/taskiso/internal/report"
)

// Socket is where another shell asks for a snapshot: a socket with the number of this process as its name, in a directory that nobody else
// can enter.
type Socket struct {
	listener *net.UnixListener
	asked    chan Asked
}

// Asked is somebody who waits for a snapshot.
type Asked struct{ answer chan report.Kept }

// Answer lets the one who waits know what became of it. It does not wait.
func (a Asked) Answer(k report.Kept) {
	select {
	case a.answer <- k:
	default:
	}
}

// Sockets is the name of the directory for them, of which each user has one.
const Sockets = "recorders"

const (
	socketSuffix = ".sock"
	answerTime   = 5 * time.Minute // a snapshot has a time to come, and a disk may be slow
	maxAnswer    = 1 << 16
)

// Listen makes the socket of this process in a directory, and makes that if need be.
func Listen(dir string) (*Socket, error) {
	if err := claim.Prepare(dir, 0o700); err != nil {
		return nil, fmt.Errorf("letting \"taskiso snapshot\" ask: %w", err)
	}
	sweep(dir)
	name := filepath.Join(dir, strconv.Itoa(os.Getpid())+socketSuffix)
	os.Remove(name) // that of a process which had this number, and was killed
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("letting \"taskiso snapshot\" ask: %w", err)
	}
	s := &Socket{listener: l, asked: make(chan Asked)}
	go s.serve()
	return s, nil
}

// sweep removes the sockets of recorders that were killed. One that cannot be removed harms nobody.
func sweep(dir string) {
	for pid, name := range sockets(dir) {
		if errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			os.Remove(name)
		}
	}
}

// sockets goes through those in a directory, each with the process that it is named after.
func sockets(dir string) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return
		}
		for _, e := range entries {
			name, found := strings.CutSuffix(e.Name(), socketSuffix)
			pid, err := strconv.Atoi(name)
			if found && err == nil && pid > 0 && !yield(pid, filepath.Join(dir, e.Name())) {
				return
			}
		}
	}
}

// Asked has everybody who asks, one at a time.
func (s *Socket) Asked() <-chan Asked { return s.asked }

// Close takes the socket away.
func (s *Socket) Close() error { return s.listener.Close() }

func (s *Socket) serve() {
	for {
		c, err := s.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(time.Second) // no descriptor is free
			continue
		}
		s.answer(c)
		c.Close()
	}
}

// answer asks for a snapshot. Nothing is read: who can connect is who may ask.
func (s *Socket) answer(c *net.UnixConn) {
	if !isOwn(c) {
		return
	}
	a := Asked{make(chan report.Kept, 1)}
	var k report.Kept
	timeout := time.After(answerTime)
	select {
	case s.asked <- a:
	case <-timeout:
		return
	}
	select {
	case k = <-a.answer:
	case <-timeout:
		return
	}
	c.SetWriteDeadline(time.Now().Add(time.Second))
	json.NewEncoder(c).Encode(k)
}

// isOwn reports whether the process on the other side has this user, or is root's.
func isOwn(c *net.UnixConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	own := false
	err = raw.Control(func(fd uintptr) {
		peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		own = err == nil && (peer.Uid == 0 || int(peer.Uid) == os.Geteuid())
	})
	return err == nil && own
}

// Errors of Ask.
var (
	ErrNone    = errors.New("no flight recorder of this user is running: start one with \"taskiso watch --flight 64M,120s --snapshot-dir DIR\"")
	ErrSeveral = errors.New("several flight recorders are running; name one of these processes")
)

// Ask has the recorder of a process, 0 for the only one that runs, take a snapshot, and waits until it is written.
func Ask(dir string, pid int) (report.Kept, error) {
	c, err := find(dir, pid)
	if err != nil {
		return report.Kept{}, err
	}
	defer c.Close()
	var k report.Kept
	if err := json.NewDecoder(io.LimitReader(c, maxAnswer)).Decode(&k); err != nil {
		return k, errors.New("the flight recorder ended before the snapshot was written")
	}
	return k, nil
}

// find connects to a recorder.
func find(dir string, pid int) (net.Conn, error) {
	if dir == "" {
		return nil, ErrNone
	}
	if pid != 0 {
		c, err := net.Dial("unix", filepath.Join(dir, strconv.Itoa(pid)+socketSuffix))
		if err != nil {
			return nil, fmt.Errorf("process %d has no flight recorder of this user", pid)
		}
		return c, nil
	}
	var running []int
	for pid := range sockets(dir) {
		if unix.Kill(pid, 0) == nil {
			running = append(running, pid)
		}
	}
	return only(dir, running)
}

// only connects to the recorder that runs, if it is the only one.
func only(dir string, running []int) (net.Conn, error) {
	switch len(running) {
	case 0:
		return nil, ErrNone
	case 1:
		return find(dir, running[0])
	}
	slices.Sort(running)
	return nil, fmt.Errorf("%w: %v", ErrSeveral, running)
}
