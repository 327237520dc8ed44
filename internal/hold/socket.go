// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Dir is where the socket of the only keeper of a machine is.
const Dir = "/run/taskiso"

const (
	socketName = "hold.sock"
	lockName   = "hold.lock"
)

// talkTimeout bounds a conversation, so that nobody can keep the other side waiting.
const talkTimeout = 30 * time.Second

// request and reply are a line of JSON each.
type request struct {
	Do  string        `json:"do"` // status, release, window
	ID  uint64        `json:"id,omitempty"`
	Set Window        `json:"set,omitempty"`
	For time.Duration `json:"for_ns,omitempty"`
}

type reply struct {
	Error    string  `json:"error,omitempty"`
	Status   *Status `json:"status,omitempty"`
	Released int     `json:"released,omitempty"`
}

// Socket is where a keeper takes orders.
type Socket struct {
	listener net.Listener
	lock     *os.File
}

// Listen opens the socket in a directory, which is made. The lock beside it goes
// with the process, so that what a killed keeper left is in nobody's way.
func Listen(dir string) (*Socket, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making a place for the socket of hold: %w", forRoot(err))
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock of hold: %w", forRoot(err))
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		who, _ := io.ReadAll(lock)
		lock.Close()
		return nil, fmt.Errorf("process %s holds already: there can be one hold at a time; \"taskiso hold status\" shows it", strings.TrimSpace(string(who)))
	} else if err != nil {
		lock.Close()
		return nil, fmt.Errorf("locking %s: %w", lock.Name(), err)
	}
	s := &Socket{lock: lock}
	if err := s.open(filepath.Join(dir, socketName)); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

// forRoot adds the next step of somebody who is not root to a refusal.
func forRoot(err error) error {
	if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
		return fmt.Errorf("%w: hold is for root, run it with sudo", err)
	}
	return err
}

func (s *Socket) open(name string) error {
	if err := s.lock.Truncate(0); err != nil {
		return fmt.Errorf("noting the process of hold: %w", err)
	}
	if _, err := fmt.Fprintln(s.lock, os.Getpid()); err != nil {
		return fmt.Errorf("noting the process of hold: %w", err)
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the socket of an earlier hold: %w", err)
	}
	old := unix.Umask(0o177) // for its owner only, from the beginning
	l, err := net.Listen("unix", name)
	unix.Umask(old)
	if err != nil {
		return fmt.Errorf("opening the socket of hold: %w", err)
	}
	s.listener = l
	return nil
}

// Close removes the socket.
func (s *Socket) Close() error { return errors.Join(s.listener.Close(), s.lock.Close()) }

// Serve passes orders to a keeper until the socket is closed.
func (s *Socket) Serve(k *Keeper) error {
	for {
		c, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("taking orders: %w", err)
		}
		go func() {
			defer c.Close()
			c.SetDeadline(time.Now().Add(talkTimeout))
			var r request
			if json.NewDecoder(io.LimitReader(c, 4096)).Decode(&r) != nil {
				return // a program that writes anything else is not ours
			}
			json.NewEncoder(c).Encode(k.obey(r)) // it may have gone
		}()
	}
}

func (k *Keeper) obey(r request) reply {
	var answer reply
	var err error
	switch r.Do {
	case "status":
		var s Status
		s, err = k.Status()
		answer.Status = &s
	case "release":
		answer.Released, err = k.Release(r.ID)
	case "window":
		err = k.Order(r.Set, r.For)
	default:
		err = fmt.Errorf("unknown order %q", r.Do)
	}
	if err != nil {
		return reply{Error: err.Error()}
	}
	return answer
}

// Remote is the keeper of another process.
type Remote struct{ dir string }

// Connect returns the keeper whose socket is in a directory.
func Connect(dir string) Remote { return Remote{dir} }

// ErrNoHold means that no keeper runs.
var ErrNoHold = errors.New("nothing is held on this machine: start \"taskiso hold\" or \"taskiso run --hold\"")

func (r Remote) ask(q request) (reply, error) {
	c, err := net.DialTimeout("unix", filepath.Join(r.dir, socketName), talkTimeout)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return reply{}, ErrNoHold
	}
	if err != nil {
		return reply{}, fmt.Errorf("asking the hold that runs: %w", forRoot(err))
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(talkTimeout))
	if err := json.NewEncoder(c).Encode(q); err != nil {
		return reply{}, fmt.Errorf("asking the hold that runs: %w", err)
	}
	var a reply
	if err := json.NewDecoder(c).Decode(&a); err != nil {
		return reply{}, fmt.Errorf("reading the answer of the hold that runs: %w", err)
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// Status, Release and Order are those of [Keeper].
func (r Remote) Status() (Status, error) {
	a, err := r.ask(request{Do: "status"})
	if err != nil {
		return Status{}, err
	}
	return *a.Status, nil
}

// Release lets an operation go on that waits, or All.
func (r Remote) Release(id uint64) (int, error) {
	a, err := r.ask(request{Do: "release", ID: id})
	return a.Released, err
}

// Order sets the window by hand.
func (r Remote) Order(w Window, span time.Duration) error {
	_, err := r.ask(request{Do: "window", Set: w, For: span})
	return err
}
