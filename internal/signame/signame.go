// SPDX-License-Identifier: Apache-2.0

// Package signame knows the names of signals.
package signame

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// last is _NSIG of the kernel, up to which the real-time signals go.
const last = 64

// Of returns the name of a signal, "SIGURG", or its number if it has none.
func Of(signal syscall.Signal) string {
	if name := unix.SignalName(signal); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(signal))
}

// Parse returns the signal that text names: "SIGUSR1", "usr1", "10".
func Parse(text string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(text); err == nil && n > 0 && n <= last {
		return syscall.Signal(n), nil
	}
	if s := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(text), "SIG")); s != 0 {
		return s, nil
	}
	return 0, fmt.Errorf("%q is not a signal: give a name such as SIGUSR1 or a number from 1 to %d", text, last)
}
