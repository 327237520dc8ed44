// SPDX-License-Identifier: Apache-2.0

// Package cpulist holds sets of CPU numbers and reads and writes them in the
// kernel's own notations.
//
// The kernel writes the same set in two ways:
//
//   - as a list, "1,3,5-7", in boot parameters (isolcpus=, nohz_full=), in
//     /sys/devices/system/cpu and in cpuset.cpus. [Parse], [ParseMax] and
//     [ParseSysfs] read it, [Set.String] writes it.
//   - as a mask, "ff,ffffffff", in files such as /proc/irq/N/smp_affinity and
//     /sys/devices/virtual/workqueue/cpumask. [ParseMask] reads it, [Set.Mask]
//     writes it.
//
// The grammar is that of bitmap_parselist() and bitmap_parse() in the kernel's
// lib/bitmap-str.c, so a value that works on the kernel command line works
// here. Sets made elsewhere are checked on the way in: no Set ever holds a CPU
// above [MaxCPU].
//
// A [Set] is an immutable value. It may be copied, compared with ==, used as a
// map key and shared between goroutines without locks. The zero value is the
// empty set. Nothing in this package needs privileges or touches the system.
package cpulist
