// SPDX-License-Identifier: Apache-2.0

package vmtest

import (
	"os"
	"slices"
	"strings"

	"github.com/taskiso/taskiso/internal/vmtest/debian"
)

// RowsVariable chooses the rows that tests run on instead of those of a [Config]: their names, separated by commas. Where a
// Config names its Kernels, it runs on no others.
const RowsVariable = "TASKISO_ROWS"

// rows are the names of the rows to run on.
func (c Config) rows() []string {
	own := c.Kernels
	if len(own) == 0 {
		own = debian.Suites()
	}
	own = append(slices.Clone(own), c.Also...)
	chosen := os.Getenv(RowsVariable)
	if chosen == "" {
		return own
	}
	wanted := strings.Split(chosen, ",")
	if len(c.Kernels) == 0 {
		return wanted
	}
	return slices.DeleteFunc(wanted, func(row string) bool { return !slices.Contains(own, row) })
}
