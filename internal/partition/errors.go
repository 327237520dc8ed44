// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"

	"github.com/taskiso/taskiso/internal/partition/change"
)

// Errors of a [Store]. Test for them with [errors.Is].
var (
	ErrNoPartition = errors.New("no such partition")
	ErrExists      = errors.New("there is a partition of that name")
	ErrOverlap     = errors.New("another partition has these CPUs")
	ErrForeign     = change.ErrForeign
	ErrBooted      = errors.New("the machine was booted since, which undid it")
	ErrBusy        = change.ErrBusy
	ErrLater       = errors.New("a partition that was made later has changed this again")
	ErrIncomplete  = errors.New("making or undoing it was interrupted")
)
