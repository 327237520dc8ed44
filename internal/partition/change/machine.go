// SPDX-License-Identifier: Apache-2.0

package change

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/kernfs"
	"github.com/taskiso/taskiso/internal/systemd"
)

// Machine is the files of the kernel, and the programs that own settings of it.
// Those of a captured machine, or one opened for reading only, are not asked.
type Machine struct{ *kernfs.FS }

// askTime bounds the wait for an answer.
const askTime = 5 * time.Second

// Ask is for programs that answer one request and close the connection.
func (m Machine) Ask(socket, request string) (string, error) {
	err := m.ThisMachine()
	var answer []byte
	if err == nil {
		answer, err = ask(socket, request)
	}
	if errors.Is(err, unix.ECONNREFUSED) { // the program died and left its socket
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	if err != nil {
		return "", fmt.Errorf("sending %q to %s: %w", request, socket, err)
	}
	return string(answer), nil
}

// StartSlice asks systemd for a slice with CPUs.
func (m Machine) StartSlice(name, cpus string) error {
	set, err := cpulist.ParseSysfs(cpus)
	if err == nil {
		err = m.ThisMachine()
	}
	if err != nil {
		return fmt.Errorf("starting the slice %s: %w", name, err)
	}
	return systemd.StartSlice(context.Background(), name, fmt.Sprintf("CPU %s, set apart by taskiso", cpus), set)
}

// StopSlice asks systemd to end a slice.
func (m Machine) StopSlice(name string) error {
	if err := m.ThisMachine(); err != nil {
		return fmt.Errorf("stopping the slice %s: %w", name, err)
	}
	return systemd.StopSlice(context.Background(), name)
}

func ask(socket, request string) ([]byte, error) {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(askTime)); err != nil {
		return nil, err
	}
	sender := &unix.Ucred{Pid: int32(os.Getpid()), Uid: uint32(os.Geteuid()), Gid: uint32(os.Getegid())}
	if _, _, err := conn.WriteMsgUnix([]byte(request), unix.UnixCredentials(sender), nil); err != nil {
		return nil, err
	}
	const most = 1 << 20
	return io.ReadAll(io.LimitReader(conn, most))
}
