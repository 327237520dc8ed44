// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"
	"io"

	"github.com/taskiso/taskiso/internal/faults"
	"github.com/taskiso/taskiso/pagefault"
)

// faultList prints faults. It has a goroutine of its own: to find the names of code takes
// long, and the next faults do not wait.
type faultList struct {
	faults chan pagefault.Fault
	done   chan struct{}
}

func newFaultList(w io.Writer, describe func(*pagefault.Fault) faults.Fault) *faultList {
	const waiting = 10_000 // before faults have to wait after all
	l := &faultList{make(chan pagefault.Fault, waiting), make(chan struct{})}
	go func() {
		defer close(l.done)
		for f := range l.faults {
			fmt.Fprintln(w, faults.Line(describe(&f)))
		}
	}()
	return l
}

// close prints what there is.
func (l *faultList) close() {
	if l != nil {
		close(l.faults)
		<-l.done
	}
}
