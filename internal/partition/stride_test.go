// SPDX-License-Identifier: Apache-2.0

//go:build !soak

package partition

// killStride is how far apart the writes are after which a process is killed in
// guests: "make partition-soak" kills after each.
const killStride = 8
