// SPDX-License-Identifier: Apache-2.0

package change

import (
	"errors"
	"io/fs"

	"github.com/taskiso/taskiso/cpulist"
)

// Files is where changes are made: [Machine], or an imitation in tests.
type Files interface {
	Read(path string) (string, error)
	Write(path, value string) error
	Mkdir(path string) error
	Rmdir(path string) error
	SetAffinity(thread string, cpus cpulist.Set) error
	// Ask sends a request to the program behind a socket and returns its answer. A
	// program that is gone is an error that matches [fs.ErrNotExist].
	Ask(socket, request string) (string, error)
	// StartSlice and StopSlice ask systemd, which does it later. A slice that is not
	// there to be stopped is an error that matches [fs.ErrNotExist].
	StartSlice(name, cpus string) error
	StopSlice(name string) error
}

// readOnly reads them as packages do that take an [fs.FS]: whole, and by names without a leading slash.
type readOnly struct{ files Files }

func (r readOnly) ReadFile(name string) ([]byte, error) {
	text, err := r.files.Read("/" + name)
	return []byte(text), err
}

// Open opens nothing: no directory is read.
func (readOnly) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: errors.ErrUnsupported}
}

// notGone leaves out the error that something is not there.
func notGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
