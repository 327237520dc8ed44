// SPDX-License-Identifier: Apache-2.0

// Package change makes one change to a setting of the running system, reads it back, and undoes it.
//
// A [Change] is a value before and a value after. How such a value is read, written, compared and described is its
// [Kind], which is one type in one file; [Files] is where it is.
package change
