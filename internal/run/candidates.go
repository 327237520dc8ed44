// SPDX-License-Identifier: Apache-2.0

package run

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/entries"
	"github.com/taskiso/taskiso/internal/feature"
)

// candidates names what n breaks without a name can have been.
func candidates(files fs.FS, n uint64) string {
	unnamed := display.Count(n) + " breaks have no name"
	here, err := entries.Here(files, feature.Usable(files))
	if err != nil {
		return fmt.Sprintf("%s, and the entry points of this kernel without an event are not known: %v", unnamed, err)
	}
	var silent []string
	for _, point := range here.Points {
		switch point.Seen {
		case entries.ByCatchAll, entries.ByInterrupts, entries.Blind:
			silent = append(silent, point.What)
		}
	}
	return fmt.Sprintf("%s; the entry points of this kernel without an event are: %s (\"taskiso entries\")", unnamed, strings.Join(silent, ", "))
}
