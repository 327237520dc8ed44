// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/taskiso/taskiso/internal/signame"
)

// Interrupted is why a context ended.
type Interrupted struct{ Signal syscall.Signal }

func (i Interrupted) Error() string { return "interrupted by " + signame.Of(i.Signal) }

// Interruptible returns a context that the signals end which would otherwise end
// the process, half done. SIGPIPE is ignored: the reader has gone away.
func Interruptible() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	go func() {
		for s := range signals {
			if s, ok := s.(syscall.Signal); ok && s != syscall.SIGPIPE {
				cancel(Interrupted{s})
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
		cancel(nil)
	}
}
