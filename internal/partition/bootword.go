// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"fmt"
)

// BootWord is one word of the kernel's command line.
type BootWord struct {
	Word  string `json:"word"`
	Gives string `json:"gives"`
	State State  `json:"state"` // change, set, needless, lacking or unknown
	// Present are the words of the same parameter that this boot had, if any.
	Present string `json:"present,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// is sets the state and its reason.
func (w *BootWord) is(state State, format string, args ...any) {
	w.State = state
	w.Reason = fmt.Sprintf(format, args...)
}

// because adds to the reason.
func (w *BootWord) because(format string, args ...any) {
	if w.Reason != "" {
		w.Reason += "; "
	}
	w.Reason += fmt.Sprintf(format, args...)
}
