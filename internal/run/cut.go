// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/taskiso/taskiso/internal/observe"
	"github.com/taskiso/taskiso/internal/record"
	"github.com/taskiso/taskiso/internal/report"
)

// CutConfig is what of a recording is cut out.
type CutConfig struct {
	record.Selection
	Break         uint64 // around the break of this number, as --events counts them from 1; 0: between two times
	Before, After time.Duration
}

// Cut writes a part of the recording in a file to another file. What had that name stays until the part is whole.
func Cut(from, to string, cfg CutConfig) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("reading a recording: %w", err)
	}
	defer in.Close()
	if cfg.Break != 0 {
		if err := cfg.around(in); err != nil {
			return fmt.Errorf("reading %s: %w", from, err)
		}
	}
	out, err := record.Create(to)
	if err != nil {
		return err
	}
	defer out.Discard()
	if err := record.Cut(in, out, cfg.Selection); err != nil {
		return fmt.Errorf("cutting %s: %w", from, err)
	}
	return out.Begin()
}

var errNoBreak = errors.New("the recording has no break of that number")

// around chooses the time around a break.
func (c *CutConfig) around(in io.ReadSeeker) error {
	recording, err := record.NewReader(in)
	if err != nil {
		return err
	}
	var n uint64
	r, err := observe.Replay(recording, func(b report.Break) {
		if n++; n == c.Break {
			c.From, c.Until = max(0, b.At-c.Before), b.At+b.Duration+b.Waited+c.After
		}
	})
	if err != nil {
		return err
	}
	if n < c.Break {
		return fmt.Errorf("%w: break %d of %d, in %s", errNoBreak, c.Break, n, r.Duration)
	}
	return nil
}
