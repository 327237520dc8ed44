// SPDX-License-Identifier: Apache-2.0

package cause

import (
	"cmp"
	"slices"
	"strings"
)

const (
	maxNear     = 4 // suggestions
	maxDistance = 2 // letters that differ
)

// Near returns known ids that are spelt like id, the likeliest first.
func (c *Catalogue) Near(id string) []string {
	id = strings.ReplaceAll(strings.ToLower(id), "_", "-")
	if id == "" {
		return nil
	}
	type candidate struct {
		id       string
		distance int
	}
	var near []candidate
	for _, row := range c.rows {
		switch d := distance(id, row.ID); {
		case d <= maxDistance:
			near = append(near, candidate{row.ID, d})
		case len(id) > maxDistance && strings.Contains(row.ID, id):
			near = append(near, candidate{row.ID, len(row.ID)})
		}
	}
	slices.SortStableFunc(near, func(a, b candidate) int { return cmp.Compare(a.distance, b.distance) })
	ids := make([]string, 0, maxNear)
	for _, n := range near[:min(len(near), maxNear)] {
		ids = append(ids, n.id)
	}
	return ids
}

// distance is the number of letters to insert, delete or replace to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
