// SPDX-License-Identifier: Apache-2.0

package change

import (
	"errors"
	"fmt"
	"strings"

	"github.com/taskiso/taskiso/internal/kernfs"
)

// Partition is the kind of a cpuset partition: "isolated", or "isolated invalid (reason)".
type Partition struct{ Text }

// MarshalText returns the name in journals.
func (Partition) MarshalText() ([]byte, error) { return []byte("partition"), nil }

// apply leaves the cgroup without a partition, rather than with one that is not valid and could become it at any
// time, if the kernel makes none and it may fail.
func (Partition) apply(files Files, c Change) error {
	err := write(files, c, c.To)
	if !errors.Is(err, kernfs.ErrNotTaken) {
		return err
	}
	if got, _ := files.Read(c.Path); !strings.Contains(got, "housekeeping") {
		return err
	}
	if !c.MayFail {
		return fmt.Errorf("%w; choose CPUs all of which, or none, are isolated at boot, or use --partition none", err)
	}
	if err := write(files, c, c.From); err != nil {
		return err
	}
	return errHousekeeping
}

// place counts a partition that has become invalid as what it was made: it is ours all the same.
func (Partition) place(c Change, got string) Place {
	kind, _, _ := strings.Cut(got, " ")
	return c.between(kind, c.From)
}
