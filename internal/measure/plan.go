// SPDX-License-Identifier: Apache-2.0

package measure

import (
	"fmt"
	"io/fs"
	"time"

	"github.com/taskiso/taskiso/internal/emulator"
	"github.com/taskiso/taskiso/internal/loop"
	"github.com/taskiso/taskiso/internal/noise"
	"github.com/taskiso/taskiso/internal/task"
)

// Wanted is what is wanted of the loop.
type Wanted struct {
	Threshold time.Duration // shortest gap to note
	Given     bool          // else a longer one will do
	Priority  loop.Priority
}

// plan decides what the loop reads, and finds out what it can see.
func (w Wanted) plan(files fs.FS) (noise.Settings, error) {
	counter, why, err := noise.ChooseCounter(files)
	if err != nil {
		return noise.Settings{}, err
	}
	smallest, sample := noise.Smallest(counter)
	if !w.Given {
		w.Threshold = max(w.Threshold, smallest) // an emulated CPU is slow
	}
	if w.Threshold < smallest {
		return noise.Settings{}, &task.RequestError{Err: fmt.Errorf("a gap of --threshold %v cannot be distinguished from the loop itself: it takes %v here", w.Threshold, smallest)}
	}
	s := noise.Settings{
		Counter:   counter,
		Why:       why,
		Threshold: w.Threshold,
		Smallest:  smallest,
		Sample:    sample,
		Priority:  w.Priority.String(),
	}
	if counter != noise.Clock && emulator.Found(files) {
		s.YieldsEvery = noise.YieldEvery
	}
	return s, nil
}
