// SPDX-License-Identifier: Apache-2.0

package vmtest

import (
	"flag"
	"strings"
	"testing"
)

// ReleaseVariable tells a guest's tests which kernel they should find, as uname -r says it. It is unset if that is not
// known, because TASKISO_KERNEL names the kernel.
const ReleaseVariable = "TASKISO_GUEST_RELEASE"

// guestArgs are the flags of the test binary in the guest.
func (c Config) guestArgs(t *testing.T) []string {
	run := c.Tests
	if narrowed := below(flag.Lookup("test.run").Value.String(), t.Name()); narrowed != "" {
		run = narrowed
	}
	args := []string{"-test.v=test2json", "-test.run=" + run, "-test.skip=" + c.Skip, "-test.timeout=" + c.Timeout.String()}
	if testing.Short() {
		args = append(args, "-test.short")
	}
	return append(args, c.Args...)
}

// below returns the part of a -run pattern that selects subtests of the test called name. Alternatives of whole
// patterns ("A/x|B/y") select nothing below: then everything runs. Those in one element ("A/(x|y)/Z") do.
func below(pattern, name string) string {
	if len(splitOutside(pattern, '|')) > 1 {
		return ""
	}
	elements := splitOutside(pattern, '/')
	depth := strings.Count(name, "/") + 1
	return strings.Join(elements[min(depth, len(elements)):], "/")
}

// splitOutside splits a pattern where a separator is in no brackets, as package testing does.
func splitOutside(pattern string, separator byte) []string {
	var parts []string
	begin, square, round := 0, 0, 0
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '\\':
			i++
		case c == '[':
			square++
		case c == ']':
			square = max(0, square-1)
		case c == '(' && square == 0:
			round++
		case c == ')' && square == 0:
			round--
		case c == separator && square == 0 && round == 0:
			parts = append(parts, pattern[begin:i])
			begin = i + 1
		}
	}
	return append(parts, pattern[begin:])
}

func (c Config) guestEnv(k kernel) []string {
	env := []string{"PATH=/bin:/sbin:/usr/bin:/usr/sbin", "HOME=/tmp", "TMPDIR=/tmp"}
	if k.release != "" {
		env = append(env, ReleaseVariable+"="+k.release)
	}
	return append(env, c.Env...)
}
