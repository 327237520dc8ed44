// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"sync"
)

// printed is standard output. It remembers that something could not be written, as not everybody
// who prints looks (cobra's help does not), or can end for it (a hold goes on). Its methods are safe for
// concurrent use.
type printed struct {
	w io.Writer

	mu     sync.Mutex
	failed error // the first
}

func (p *printed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, err := p.w.Write(b)
	if err != nil && p.failed == nil {
		p.failed = err
	}
	return n, err
}

// problem returns an error if not everything was printed.
func (p *printed) problem() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed == nil {
		return nil
	}
	return fmt.Errorf("printing to standard output: %w", p.failed)
}
