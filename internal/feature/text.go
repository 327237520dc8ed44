// SPDX-License-Identifier: Apache-2.0

package feature

import (
	"fmt"
	"slices"
	"strings"
)

// Rows returns a table of the features, with the next step of those that are missing.
func Rows(list []Feature) [][]string {
	rows := deniedRows(list)
	for _, f := range list {
		if f.Denied {
			continue
		}
		what := f.Gives
		if f.Answer != Yes {
			what += ": " + f.Reason
		}
		rows = append(rows, []string{string(f.Answer), f.Name, what})
		if f.Next != "" {
			rows = append(rows, []string{"", "", "→ " + f.Next})
		}
	}
	return rows
}

// deniedRows says of all features that could not be tried without privileges which these are, at once.
func deniedRows(list []Feature) [][]string {
	var names, next []string
	for _, f := range list {
		if !f.Denied {
			continue
		}
		names = append(names, f.Name)
		if !slices.Contains(next, f.Next) {
			next = append(next, f.Next)
		}
	}
	if len(names) == 0 {
		return nil
	}
	rows := [][]string{{string(Unknown), fmt.Sprintf("%d features", len(names)), "not tried without privileges: " + strings.Join(names, ", ")}}
	return append(rows, []string{"", "", "→ " + strings.Join(next[:1], "; ")})
}
