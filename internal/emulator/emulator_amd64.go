// SPDX-License-Identifier: Apache-2.0

package emulator

import "io/fs"

func found(fs.FS) bool { return byCPUID(cpuid) }

// cpuid executes CPUID, with subleaf 0. On a virtual machine that leaves it for the hypervisor.
func cpuid(leaf uint32) (a, b, c, d uint32)

// Yield executes PAUSE.
func Yield()
