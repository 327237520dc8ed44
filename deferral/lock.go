// SPDX-License-Identifier: Apache-2.0

package deferral

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
)

const (
	lockCheck = 1024                   // tries between two looks at the holder
	patience  = 100 * time.Millisecond // copying the largest value takes far less
)

// lock takes a lock among posters; owners never wait for it. A holder that
// died is found out and released; a living one that is stopped leads to ErrBusy.
func (d *Domain) lock(word *uint64) error {
	mine := uint64(d.peer) + 1
	if atomic.CompareAndSwapUint64(word, 0, mine) {
		return nil
	}
	return d.lockSlow(word, mine)
}

func (d *Domain) lockSlow(word *uint64, mine uint64) error {
	start := time.Now()
	for try := 1; !atomic.CompareAndSwapUint64(word, 0, mine); try++ {
		runtime.Gosched()
		if try%lockCheck != 0 {
			continue
		}
		if err := d.releaseDead(atomic.LoadUint64(word)); err != nil {
			return err
		}
		if held := time.Since(start); held > d.patience {
			return fmt.Errorf("%w: peer %d holds the lock for %v", ErrBusy, atomic.LoadUint64(word)-1, held)
		}
	}
	return nil
}

func unlockWord(word *uint64) { atomic.StoreUint64(word, 0) }
