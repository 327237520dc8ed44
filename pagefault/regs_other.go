// SPDX-License-Identifier: Apache-2.0

//go:build !amd64 && !arm64

package pagefault

// stackPointer is unknown: stacks of threads are distinguished from other anonymous
// memory only on amd64 and arm64.
const stackPointer = 0
