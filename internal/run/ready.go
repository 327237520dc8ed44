// SPDX-License-Identifier: Apache-2.0

package run

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// announceReady tells whoever started taskiso, if it asked for that by NOTIFY_SOCKET as systemd does (sd_notify(3)), that
// the observation has begun: attaching takes a while, and what happens meanwhile is not seen.
func announceReady() error {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Sendto(fd, []byte("READY=1"), 0, &unix.SockaddrUnix{Name: name}) // a leading @ is an abstract name
		unix.Close(fd)
	}
	if err != nil {
		return fmt.Errorf("announcing to NOTIFY_SOCKET=%s that the observation has begun: %w", name, err)
	}
	return nil
}
