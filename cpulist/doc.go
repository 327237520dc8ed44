// Package cpulist represents sets of CPU numbers in the kernel's own notations.
package cpulist
