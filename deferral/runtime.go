// SPDX-License-Identifier: Apache-2.0

package deferral

import (
	"fmt"
	"os"
	"strings"
)

// CheckRuntime reports what in this Go program would interrupt an isolated
// goroutine, or nil. The Go scheduler sends SIGURG to a thread that runs one
// goroutine for long, about a hundred times per second; ErrPreempt means that
// this is not switched off. Switched off or not, the scheduler can also take its
// turn when the goroutine calls a function that is not inlined, which the tracer
// shows as futex calls of the thread, some per second. Owners written in C, C++ or Rust have no such
// problem and use include/taskiso/deferral.h.
func CheckRuntime() error {
	for setting := range strings.SplitSeq(os.Getenv("GODEBUG"), ",") {
		if setting == "asyncpreemptoff=1" {
			return nil
		}
	}
	return fmt.Errorf("%w: start the program with GODEBUG=asyncpreemptoff=1", ErrPreempt)
}
