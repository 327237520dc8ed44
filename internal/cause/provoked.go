// SPDX-License-Identifier: Apache-2.0

package cause

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

//go:embed provoked.json
var provokedText []byte

// Provocation is a real operation that a test made on each kernel to break the
// isolation of a CPU.
type Provocation struct {
	Name string `json:"name"`
	// Kernels has the outcome on each.
	Kernels map[string]Outcome `json:"kernels"`
}

// Outcome is the outcome of a provocation on one kernel.
type Outcome struct {
	Cause  string `json:"cause,omitempty"`  // id of the cause that was named
	Reason string `json:"reason,omitempty"` // why it cannot be made there
}

// Provoked returns the provocations as the last "make provocations" found them.
func Provoked() ([]Provocation, error) {
	var list []Provocation
	if err := json.Unmarshal(provokedText, &list); err != nil {
		return nil, fmt.Errorf("reading provoked.json: %w", err)
	}
	return list, nil
}

// provokedOn returns the kernels on which a cause was provoked.
func provokedOn(list []Provocation, id string) []string {
	kernels := make(map[string]bool)
	for _, p := range list {
		for kernel, outcome := range p.Kernels {
			if outcome.Cause == id {
				kernels[kernel] = true
			}
		}
	}
	return slices.SortedFunc(maps.Keys(kernels), compareReleases)
}

// compareReleases orders 6.1 before 6.12 before 7.2.
func compareReleases(a, b string) int {
	return slices.Compare(releaseNumbers(a), releaseNumbers(b))
}

func releaseNumbers(release string) []int {
	var major, minor int
	fmt.Sscanf(release, "%d.%d", &major, &minor) // a word that is not a number sorts first
	return []int{major, minor}
}

func writeProvocations(b *bytes.Buffer, list []Provocation) {
	kernels := make(map[string]bool)
	for _, p := range list {
		for kernel := range p.Kernels {
			kernels[kernel] = true
		}
	}
	columns := slices.SortedFunc(maps.Keys(kernels), compareReleases)
	fmt.Fprintf(b, "\n## Provocations\n\n"+
		"Made by \"make provocations\" in virtual machines, against a busy loop on an isolated CPU, with the cause that taskiso named.\n\n"+
		"| operation | %s |\n|---|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	var reasons []string
	for _, p := range list {
		fmt.Fprintf(b, "| %s |", p.Name)
		for _, kernel := range columns {
			outcome := p.Kernels[kernel]
			switch {
			case outcome.Reason != "":
				if !slices.Contains(reasons, outcome.Reason) {
					reasons = append(reasons, outcome.Reason)
				}
				fmt.Fprintf(b, " not made (%d) |", slices.Index(reasons, outcome.Reason)+1)
			case outcome.Cause != "":
				fmt.Fprintf(b, " [%s](#%s) |", outcome.Cause, outcome.Cause)
			default:
				b.WriteString(" **not found** |")
			}
		}
		b.WriteString("\n")
	}
	b.WriteString("\nNot made, because:\n\n")
	for i, reason := range reasons {
		fmt.Fprintf(b, "%d. %s\n", i+1, reason)
	}
}
