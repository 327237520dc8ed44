// SPDX-License-Identifier: Apache-2.0

// Package compare compares reports of two groups of runs, before a change and after it: which causes interrupt more often,
// which less often, which are new, and which went to another CPU, each with an interval for the ratio of the two rates. Counts
// of interruptions vary by more than chance alone would have it, so that the variation between runs, and within
// them, is measured and taken into account, and so is the number of comparisons. docs/compare.md describes what it prints, and
// docs/design/09-comparison.md why that is right.
package compare
