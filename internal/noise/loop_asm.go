// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package noise

// spin reads the CPU's counter until two readings are threshold or more apart,
// and returns them, or until *stop is not 0, and returns the last one twice. from
// is the reading before its first one. It makes no system call and no function
// call and cannot be preempted by Go.
//
//go:noescape
func spin(from, threshold uint64, stop *uint32) (last, to, samples uint64)

// spinYielding is spin for an emulator, to which it yields after YieldEvery readings.
// turn counts down to that, over all calls.
//
//go:noescape
func spinYielding(from, threshold uint64, stop, turn *uint32) (last, to, samples uint64)

// counter reads the CPU's time-stamp counter.
func counter() uint64
