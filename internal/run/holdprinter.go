// SPDX-License-Identifier: Apache-2.0

package run

import (
	"sync/atomic"
	"time"

	"github.com/taskiso/taskiso/internal/hold/operation"
)

// maxUnprinted is how many records wait to be printed: some thousand lines, while a reader looks elsewhere.
const maxUnprinted = 4096

// printing is how long the end waits for records to be printed.
const printing = time.Second

// HoldPrinter prints records as they come, from a goroutine of its own. A pipe that nobody reads, or a terminal stopped by
// Ctrl-S, must not stop the keeper: it would let nobody go any more.
type HoldPrinter struct {
	records chan operation.Record
	ended   chan struct{}
	left    atomic.Uint64 // records that are not printed yet, and those that never will be
}

// PrintHolds returns a printer that calls print with each record.
func PrintHolds(print func(operation.Record)) *HoldPrinter {
	p := &HoldPrinter{records: make(chan operation.Record, maxUnprinted), ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		for r := range p.records {
			print(r)
			p.left.Add(^uint64(0))
		}
	}()
	return p
}

// Add never waits: a record without room is counted. It is not called after Close.
func (p *HoldPrinter) Add(r operation.Record) {
	p.left.Add(1)
	select {
	case p.records <- r:
	default:
	}
}

// Close waits a while until all is printed, and returns how many records are not.
func (p *HoldPrinter) Close() uint64 {
	close(p.records)
	select {
	case <-p.ended:
	case <-time.After(printing):
	}
	return p.left.Load()
}
