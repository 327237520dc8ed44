// SPDX-License-Identifier: Apache-2.0

package event

// outside is NUMBER_OUTSIDE of internal/trace/bpf/number.h.
const outside = 1 << 31

// Shown returns a thread's or process's number as it is to be shown: 0, as getppid(2) has it, for one that has
// no number in the PID namespace of this process.
func Shown(number uint32) uint32 {
	if number&outside != 0 {
		return 0
	}
	return number
}
