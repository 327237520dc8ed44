// SPDX-License-Identifier: Apache-2.0

// Package export writes what a recording holds in the formats of other programs, while it is read: a trace for
// ui.perfetto.dev, and a table.
package export
