// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/taskiso/taskiso/internal/clock"
	"github.com/taskiso/taskiso/internal/hold"
	"github.com/taskiso/taskiso/internal/hold/operation"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/trace"
)

// Hold is a keeper that runs, with its socket.
type Hold struct {
	Keeper *hold.Keeper
	socket *hold.Socket
	cancel context.CancelFunc
	ran    chan error
	served chan error
	// End lets everything go, once, and returns what the hold could not do; again it returns the same.
	End func() (limits []string, err error)
}

// OpenHold begins to hold.
func OpenHold(cfg hold.Config) (*Hold, error) {
	if err := canHold(); err != nil {
		return nil, err
	}
	socket, err := hold.Listen(hold.Dir)
	if err != nil {
		return nil, err
	}
	keeper, err := hold.Open(cfg)
	if err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	h := &Hold{Keeper: keeper, socket: socket, cancel: cancel, ran: make(chan error, 1), served: make(chan error, 1)}
	h.End = sync.OnceValues(h.stop)
	go func() { h.ran <- keeper.Run(ctx) }()
	go func() { h.served <- socket.Serve(keeper) }()
	return h, nil
}

// Wait returns after the duration, 0 for no end, or when a signal asks for the end.
func (h *Hold) Wait(d time.Duration) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	// Stopped by Ctrl-Z it could not let go what it holds.
	signal.Ignore(syscall.SIGTSTP)
	<-ctx.Done()
}

func (h *Hold) stop() (limits []string, err error) {
	h.cancel()
	ended := errors.Join(<-h.ran, h.socket.Close(), <-h.served)
	limits, err = h.Keeper.Limits()
	return limits, errors.Join(ended, err, h.Keeper.Close())
}

// canHold returns an error in a PID namespace: a task outside may start an operation, and this process can neither see
// nor stop such a task. Where the kernel's clock is not known no hold would end in time.
func canHold() error {
	if err := clock.Check(); err != nil {
		return err
	}
	inside, err := trace.InPIDNamespace()
	if err == nil && inside {
		err = errors.New("holding operations: this is a PID namespace, and the calling processes may be outside; run it where all processes are seen")
	}
	return err
}

// maxHolds bounds how many operations a report lists: any program can try as many
// as it likes.
const maxHolds = 1000

// HoldLog keeps what was held for the report. Its methods are safe for concurrent use.
type HoldLog struct {
	mu      sync.Mutex
	records []operation.Record
	omitted uint64
}

// Add keeps a record, or counts it.
func (l *HoldLog) Add(r operation.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.records) == maxHolds {
		l.omitted++
		return
	}
	l.records = append(l.records, r)
}

// Fill adds the records to a report.
func (l *HoldLog) Fill(r *report.Report) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Holds = l.records
	if l.omitted > 0 {
		r.Limits = append(r.Limits, fmt.Sprintf("only the first %d operations that were held are listed; %d came later", maxHolds, l.omitted))
	}
}
