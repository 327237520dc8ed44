// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/taskiso/taskiso/internal/report"
)

// ReadRuns reads the reports that names and patterns select, each once. An error about a pattern matches
// [filepath.ErrBadPattern].
func ReadRuns(patterns []string, read report.Reader) ([]Run, error) {
	var names []string
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, fmt.Errorf("%q is not a pattern of files: %w", pattern, err)
		}
		if len(found) == 0 {
			found = []string{pattern} // the error when it is opened names it
		}
		names = append(names, found...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	reports, err := report.ReadFiles(names, read)
	if err != nil {
		return nil, fmt.Errorf("comparing: %w", err)
	}
	runs := make([]Run, len(names))
	for i, name := range names {
		runs[i] = Run{Name: name, Report: reports[i]}
	}
	return runs, nil
}
