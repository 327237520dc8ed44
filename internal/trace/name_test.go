// SPDX-License-Identifier: Apache-2.0

package trace

import "testing"

// A task chooses its name: it must not reach a terminal as anything but text.
func TestNamesAreText(t *testing.T) {
	raw := make([]byte, sendEventSize)
	copy(raw[8:], "\x1b[2Jquiet\n")
	if got := decodeTask(1, raw).Name; got != `\x1b[2Jquiet\n` {
		t.Errorf("task %q", got)
	}
	copy(raw[16:], "CPU 3: quiet\r\x1b\x00rest")
	if got := decodeSender(raw).Name; got != `CPU 3: quiet\r\x1b` {
		t.Errorf("sender %q", got)
	}
}
