// SPDX-License-Identifier: Apache-2.0

// Package longest keeps the longest of many things.
package longest

import (
	"cmp"
	"slices"
	"time"
)

// Keep puts v in its place in a list, of which the longest is first, and drops what
// is then beyond most. Of two of the same length the later one is first.
func Keep[T any](list []T, v T, most int, length func(T) time.Duration) []T {
	i, _ := slices.BinarySearchFunc(list, length(v), func(have T, d time.Duration) int {
		return cmp.Compare(d, length(have))
	})
	if i >= most {
		return list
	}
	list = slices.Insert(list, i, v)
	return list[:min(len(list), most)]
}
