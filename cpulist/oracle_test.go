// SPDX-License-Identifier: Apache-2.0

package cpulist

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var regionForm = regexp.MustCompile(`^([0-9]+)(?:-([0-9]+)(?::([0-9]+)/([0-9]+))?)?$`)

// oracle reads a list in the most plain way, CPU by CPU into a map. It returns
// nil for whatever is an error.
func oracle(text string) []int {
	members := map[int]bool{}
	for _, region := range regexp.MustCompile(`[, \t]+`).Split(strings.TrimSpace(text), -1) {
		if region == "" {
			continue
		}
		part := regionForm.FindStringSubmatch(region)
		if part == nil || !oracleRegion(members, part) {
			return nil
		}
	}
	return slices.Sorted(maps.Keys(members))
}

func oracleRegion(members map[int]bool, part []string) bool {
	first, err := strconv.Atoi(part[1])
	last, used, group := first, 1, 1
	if part[2] != "" && err == nil {
		last, err = strconv.Atoi(part[2])
	}
	if part[3] != "" && err == nil {
		used, err = strconv.Atoi(part[3])
	}
	if part[4] != "" && err == nil {
		group, err = strconv.Atoi(part[4])
	}
	if err != nil || first > last || last > 8191 || group < 1 || used > group || group >= 1<<30 {
		return false
	}
	for cpu := first; cpu <= last; cpu++ {
		if (cpu-first)%group < used {
			members[cpu] = true
		}
	}
	return true
}

func mustParse(t *testing.T, text string) Set {
	t.Helper()
	set, err := ParseSysfs(text)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// singles lists every second CPU below 2n, the longest way to write n CPUs.
func singles(n int) string {
	var text strings.Builder
	for i := range n {
		text.WriteString(strconv.Itoa(2*i) + ",")
	}
	return text.String()
}
