// SPDX-License-Identifier: Apache-2.0

package sysname

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestOf(t *testing.T) {
	for number, want := range map[int]string{
		unix.SYS_PRCTL:      "prctl",
		unix.SYS_EXIT_GROUP: "exit_group",
		unix.SYS_MEMBARRIER: "membarrier",
		99999:               "syscall 99999",
		-1:                  "syscall -1",
	} {
		if got := Of(number); got != want {
			t.Errorf("%d: got %q, want %q", number, got, want)
		}
	}
}
