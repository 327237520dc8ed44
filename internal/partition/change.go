// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"slices"
	"strings"

	"github.com/taskiso/taskiso/cpulist"
)

// Form says how the kernel writes a value, and so when two texts are the same.
type Form string

// Forms of values.
const (
	Text       Form = "text"
	List       Form = "cpulist"
	Mask       Form = "cpumask"
	Choice     Form = "choice"     // "always [madvise] never"
	Controller Form = "controller" // a cgroup controller in a list of them: "cpuset"
	Partition  Form = "partition"  // "isolated", or "isolated invalid (reason)"
	Directory  Form = "directory"  // made, and removed by undo
	Slice      Form = "slice"      // of systemd, with a CPU list; made, and stopped by undo
	Cycle      Form = "cycle"      // of a CPU: offline and online again
	Affinity   Form = "affinity"   // CPU list of a thread, which has no file to write
	Schema     Form = "schemata"   // one line of a file of resctrl, or a part of it: "L3:0=fff0"
	Banned     Form = "irqbalance" // CPU list that irqbalance keeps off, behind its socket
)

// Change is one value to write.
type Change struct {
	Path string `json:"path"`
	From string `json:"from"`
	To   string `json:"to"`
	Form Form   `json:"form"`
	// MayFail marks a write that some kernels refuse without saying so before,
	// and which is no reason to give up all others.
	MayFail bool `json:"may_fail,omitempty"`
	// Start tells a thread from a later one of the same number: when it began, in
	// ticks since boot.
	Start string `json:"start,omitempty"`
}

// value takes what is restored out of what a file shows.
func (f Form) value(text string) string {
	text = strings.TrimSpace(text)
	if f != Choice {
		return text
	}
	for _, word := range strings.Fields(text) {
		if strings.HasPrefix(word, "[") && strings.HasSuffix(word, "]") {
			return strings.Trim(word, "[]")
		}
	}
	return text
}

// same tells whether a file that shows text holds value.
func (f Form) same(text, value string) bool {
	switch f {
	case List, Affinity, Banned, Slice:
		return sameSet(text, value, cpulist.ParseSysfs)
	case Mask:
		return sameSet(text, value, cpulist.ParseMask)
	case Schema:
		return schemaOf(text, value) == schemaOf(value, value)
	case Controller:
		return slices.Contains(strings.Fields(text), strings.Trim(value, "+-")) == !strings.HasPrefix(value, "-")
	default:
		return f.value(text) == f.value(value)
	}
}

func sameSet(a, b string, parse func(string) (cpulist.Set, error)) bool {
	x, errX := parse(a)
	y, errY := parse(b)
	if errX != nil || errY != nil {
		return a == b
	}
	return x == y
}
