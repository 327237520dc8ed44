// SPDX-License-Identifier: Apache-2.0

// Package flight is what a flight recorder has around it: what triggers a snapshot, the directory in which snapshots are kept, and the
// socket by which another shell asks for one.
package flight

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/record"
)

// Directory is where snapshots are kept. It stays the one that it was when it was opened, whatever becomes of its name.
type Directory struct {
	dir  *os.File
	name string
	room int64 // for all snapshots in it
	n    int
}

// ErrFull means that the snapshots in a directory have the room that they may have.
var ErrFull = errors.New("the snapshots in the directory have all the room that they may have: remove some, or raise --snapshot-room")

// prefix and suffix are those of the names of snapshots.
const (
	prefix = "snapshot-"
	suffix = ".rec"
)

// OpenDirectory opens the directory, and makes it if it is not there. One to which anybody else may write is refused: a snapshot is for its
// owner only, and nobody else is to choose what it replaces.
func OpenDirectory(name string, room int64) (*Directory, error) {
	if err := os.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("making the directory of snapshots: %w", err)
	}
	dir, err := os.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the directory of snapshots: %w", err)
	}
	d := &Directory{dir: dir, name: name, room: room}
	if err := d.check(); err != nil {
		dir.Close()
		return nil, err
	}
	return d, nil
}

func (d *Directory) check() error {
	var st unix.Stat_t
	if err := unix.Fstat(int(d.dir.Fd()), &st); err != nil {
		return fmt.Errorf("looking at %s: %w", d.name, err)
	}
	if int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return fmt.Errorf("snapshots are kept in a directory of user %d to which nobody else may write, and %s is not one: name another with --snapshot-dir", os.Geteuid(), d.name)
	}
	probe, err := os.CreateTemp(d.path(), ".taskiso-*")
	if err != nil {
		return fmt.Errorf("snapshots cannot be kept in %s: %w", d.name, clean(err))
	}
	defer probe.Close()
	if err := os.Remove(probe.Name()); err != nil {
		return fmt.Errorf("snapshots cannot be kept in %s: %w", d.name, clean(err))
	}
	return clean(record.RemoveAbandoned(d.path()))
}

// path leads to the directory that was opened.
func (d *Directory) path() string { return fmt.Sprintf("/proc/self/fd/%d", d.dir.Fd()) }

// Close gives the directory up.
func (d *Directory) Close() error { return d.dir.Close() }

// Save writes a snapshot, and gives it its name when it is whole.
func (d *Directory) Save(write func(io.Writer) error) (string, error) {
	used, err := d.used()
	if err != nil {
		return "", err
	}
	if used >= d.room {
		return "", fmt.Errorf("%w: they have %d bytes of %d", ErrFull, used, d.room)
	}
	d.n++
	name := fmt.Sprintf("%s%s-%d-%d%s", prefix, time.Now().UTC().Format("20060102T150405Z"), os.Getpid(), d.n, suffix)
	out, err := record.Create(filepath.Join(d.path(), name))
	if err != nil {
		return "", clean(err)
	}
	defer out.Discard()
	if err := write(&bounded{out, d.room - used}); err != nil {
		return "", clean(err)
	}
	if err := errors.Join(out.Sync(), out.Begin()); err != nil {
		return "", clean(err)
	}
	return filepath.Join(d.name, name), nil
}

// used is how many bytes the snapshots in the directory have.
func (d *Directory) used() (int64, error) {
	entries, err := os.ReadDir(d.path())
	if err != nil {
		return 0, fmt.Errorf("looking at the snapshots in %s: %w", d.name, clean(err))
	}
	var sum int64
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) || !strings.HasSuffix(e.Name(), suffix) {
			continue
		}
		if info, err := e.Info(); err == nil {
			sum += info.Size()
		}
	}
	return sum, nil
}

// bounded has room for so many bytes.
type bounded struct {
	io.Writer
	room int64
}

func (b *bounded) Write(text []byte) (int, error) {
	if b.room -= int64(len(text)); b.room < 0 {
		return 0, ErrFull
	}
	return b.Writer.Write(text)
}

// clean takes the path by which the directory is reached out of an error: the reason is left.
func clean(err error) error {
	var at *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &at):
		return at.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}
