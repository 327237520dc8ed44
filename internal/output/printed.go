// SPDX-License-Identifier: Apache-2.0

package output

import (
	"fmt"
	"io"
	"sync"
)

// Printed is standard output. It remembers that something could not be written, as not everybody
// who prints looks (cobra's help does not), or can end for it (a hold goes on). Its methods are safe for
// concurrent use.
type Printed struct {
	w io.Writer

	mu     sync.Mutex
	failed error // the first
}

// NewPrinted returns standard output that is w.
func NewPrinted(w io.Writer) *Printed { return &Printed{w: w} }

func (p *Printed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, err := p.w.Write(b)
	if err != nil && p.failed == nil {
		p.failed = err
	}
	return n, err
}

// Problem returns an error if not everything was printed.
func (p *Printed) Problem() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed == nil {
		return nil
	}
	return fmt.Errorf("printing to standard output: %w", p.failed)
}
