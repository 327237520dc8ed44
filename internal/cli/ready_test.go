// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// notified gives a command that is not yet started a socket on which it says that it is ready, and returns what waits for that.
func notified(t *testing.T, c *exec.Cmd) (ready func()) {
	t.Helper()
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	c.Env = append(c.Environ(), "NOTIFY_SOCKET="+socket.LocalAddr().String())
	return func() {
		t.Helper()
		const limit = 2 * time.Minute // attaching takes long under emulation beside others
		said := make([]byte, 100)
		socket.SetReadDeadline(time.Now().Add(limit))
		if n, err := socket.Read(said); err != nil || string(said[:n]) != "READY=1" {
			t.Fatalf("waiting for %q to be ready: %v, it said %q", c.Args, err, said[:n])
		}
	}
}

// It is ready when it observes, and fails if it cannot tell that.
func (h host) testReady(t *testing.T) {
	c := h.command(t, "watch", "-q", "-p", strconv.Itoa(os.Getpid()))
	ready := notified(t, c)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ready()
	c.Process.Signal(os.Interrupt)
	c.Wait()

	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	r := h.run(t, "watch", "-q", "-d", "100ms", "-p", strconv.Itoa(os.Getpid()))
	if r.code != exitFailed {
		t.Errorf("exit status %d, want %d", r.code, exitFailed)
	}
	checkOneLine(t, r.stderr, "announcing to NOTIFY_SOCKET=")
}
