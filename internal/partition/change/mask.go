// SPDX-License-Identifier: Apache-2.0

package change

import "github.com/taskiso/taskiso/cpulist"

// Mask is a file with CPUs as bits: "00000001,0000000c".
type Mask struct{ Text }

// MarshalText returns the name in journals.
func (Mask) MarshalText() ([]byte, error) { return []byte("cpumask"), nil }

// Parse returns the CPUs of a value.
func (Mask) Parse(text string) (cpulist.Set, error) { return cpulist.ParseMask(text) }

// Format returns the value with CPUs.
func (Mask) Format(cpus cpulist.Set) string { return cpus.Mask() }

func (k Mask) same(text, value string) bool { return sameSet(text, value, k.Parse) }

func (Mask) describe(c Change) string { return c.step(showMask) }

// showMask shows CPUs as a list, as all kinds do.
func showMask(value string) string {
	set, err := cpulist.ParseMask(value)
	if err != nil {
		return value
	}
	return showCPUs(set.String())
}
