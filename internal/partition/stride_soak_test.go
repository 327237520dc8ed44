// SPDX-License-Identifier: Apache-2.0

//go:build soak

package partition

const (
	killStride = 1
	thorough   = true
)
