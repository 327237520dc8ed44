// SPDX-License-Identifier: Apache-2.0

package feature

import (
	"fmt"
	"strings"
)

const notTried = "not tried without privileges"

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

// deniedRows lists the features that could not be tried without privileges in one row.
func deniedRows(list []Feature) [][]string {
	var names []string
	var first Feature
	for _, f := range list {
		if !f.Denied {
			continue
		}
		if len(names) == 0 {
			first = f
		}
		names = append(names, f.Name)
	}
	next := []string{"", "", "→ " + first.Next}
	switch len(names) {
	case 0:
		return nil
	case 1:
		return [][]string{{string(Unknown), first.Name, first.Gives + ": " + notTried}, next}
	default:
		return [][]string{{string(Unknown), fmt.Sprintf("%d features", len(names)), notTried + ": " + strings.Join(names, ", ")}, next}
	}
}
