// SPDX-License-Identifier: Apache-2.0

package topology

import "golang.org/x/sys/unix"

// KernelRelease returns the release of the running kernel, as uname(2) names it.
func KernelRelease() string {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(uts.Release[:])
}
