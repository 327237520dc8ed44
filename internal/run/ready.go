// SPDX-License-Identifier: Apache-2.0

package run

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// announceReady notifies the program that started taskiso that the observation has begun, if that program has set
// NOTIFY_SOCKET as systemd does (sd_notify(3)): attaching takes a while, and events before its end are not seen.
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
