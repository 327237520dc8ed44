// SPDX-License-Identifier: Apache-2.0

//go:build !soak

package partition

// In guests, a process is killed after each killStride-th of its writes.
// "make partition-soak" kills it after each, and tries all kinds of partitions.
const (
	killStride = 12
	thorough   = false
)
