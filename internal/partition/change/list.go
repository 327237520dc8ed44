// SPDX-License-Identifier: Apache-2.0

package change

import "github.com/taskiso/taskiso/cpulist"

// CPUs is a kind whose values are sets of CPUs in a file.
type CPUs interface {
	Kind
	Parse(text string) (cpulist.Set, error)
	Format(cpulist.Set) string
}

// List is a file with a CPU list: "0-1,4".
type List struct{ Text }

// MarshalText returns the name in journals.
func (List) MarshalText() ([]byte, error) { return []byte("cpulist"), nil }

// Parse returns the CPUs of a value.
func (List) Parse(text string) (cpulist.Set, error) { return cpulist.ParseSysfs(text) }

// Format returns the value with CPUs.
func (List) Format(cpus cpulist.Set) string { return cpus.String() }

func (k List) same(text, value string) bool { return sameSet(text, value, k.Parse) }

func (List) describe(c Change) string { return c.step(showCPUs) }

func showCPUs(list string) string {
	if list == "" {
		return "no CPU"
	}
	return "CPU " + list
}

func sameSet(a, b string, parse func(string) (cpulist.Set, error)) bool {
	x, errX := parse(a)
	y, errY := parse(b)
	if errX != nil || errY != nil {
		return a == b
	}
	return x == y
}
