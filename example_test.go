// SPDX-License-Identifier: Apache-2.0

package taskiso_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/taskiso/taskiso"
)

func Example() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	t, err := taskiso.Open(3)
	if errors.Is(err, taskiso.ErrNotSupported) {
		fmt.Println("start this program with: taskiso run -c 3 -- PROGRAM")
		return
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	defer t.Close() // before the thread goes back to Go: it may run on all its CPUs again
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := t.Enter(ctx, 0); err != nil {
		fmt.Println(err)
		return
	}
	for t.Isolated() {
		// work
	}
	fmt.Println("broken by", t.Status().Last.Cause)
	// Output:
	// start this program with: taskiso run -c 3 -- PROGRAM
}
