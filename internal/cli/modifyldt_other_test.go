// SPDX-License-Identifier: Apache-2.0

//go:build !amd64

package cli

import "golang.org/x/sys/unix"

// modifyLDT: only x86 has segments.
func modifyLDT() error { return cannot(unix.ENOSYS) }
