// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package noise

// spin reads the CPU's counter until two readings are threshold or more apart,
// or *stop is not 0; it then returns two readings with less between them. It
// makes no system call and no function call and cannot be preempted by Go.
//
//go:noescape
func spin(threshold uint64, stop *uint32) (from, to uint64)

// counter reads the CPU's time-stamp counter.
func counter() uint64
