// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"fmt"
	"strconv"

	"github.com/taskiso/taskiso/internal/partition/change"
)

// rate is how often something is to be expected on one CPU. Where that depends on the
// other tasks, perHour is only a place in the order; 0 means that nothing interrupts.
type rate struct {
	perHour float64
	text    string
	what    string // of words for boot, which have only a text for their effect
	// seconds is true if the value of the setting is the period. Then the text has a
	// %s for it.
	seconds bool
}

// read puts the period in that the machine has.
func (r rate) read(changes []change.Change) rate {
	if !r.seconds {
		return r
	}
	if len(changes) != 1 {
		r.text = fmt.Sprintf(r.text, "a period")
		return r
	}
	period := changes[0].From
	if n, err := strconv.ParseFloat(period, 64); err == nil && n > 0 {
		r.perHour = 3600 / n
	}
	r.text = fmt.Sprintf(r.text, period+" s")
	return r
}
