// SPDX-License-Identifier: Apache-2.0

// Package sysname knows the names of system calls.
package sysname

import "strconv"

//go:generate go run gen.go

// Of returns the name of a system call of this architecture, or its number in
// the form "syscall 999" when it is newer than the table or of another ABI.
func Of(number int) string {
	if name, ok := names[number]; ok {
		return name
	}
	return "syscall " + strconv.Itoa(number)
}

// Number returns the number of a system call of this architecture, which may not
// have it.
func Number(name string) (number int, ok bool) {
	for number, n := range names {
		if n == name {
			return number, true
		}
	}
	return 0, false
}
