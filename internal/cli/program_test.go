// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/taskiso/taskiso/internal/task"
)

// Each outcome and each kind of error has the status that --help names.
func TestStatusOfVerdicts(t *testing.T) {
	p, _ := fakeProgram(t, nil)
	missing := &task.NotExecuted{Name: "app", Err: fs.ErrNotExist}
	for _, tc := range []struct {
		verdict task.Verdict
		err     error
		want    int
	}{
		{},
		{verdict: task.Verdict{Outcome: task.CommandFailed, Status: 7}, want: 7},
		{verdict: task.Because(task.Exceeded, "breaks"), want: exitTooManyBreaks},
		{verdict: task.Because(task.Violated, "monitor"), want: exitViolated},
		{verdict: task.Because(task.Unknown, "lost"), want: exitFailed},
		{err: errors.New("any"), want: exitFailed},
		{err: &task.RequestError{Err: errors.New("CPU 99")}, want: exitUsage},
		{err: missing, want: exitNotFound},
		{err: fmt.Errorf("running: %w", missing), want: exitNotFound},
		{err: &task.NotExecuted{Name: "app", Err: fs.ErrPermission}, want: exitNotExecutable},
		{err: &status{exitFailed, missing}, want: exitFailed},                                 // undoing a partition failed as well
		{verdict: task.Because(task.Exceeded, "breaks"), err: fs.ErrClosed, want: exitFailed}, // an error leaves no verdict
	} {
		if got := p.exitStatus(ended(tc.verdict, tc.err)); got != tc.want {
			t.Errorf("%+v, %v: exit status %d, want %d", tc.verdict, tc.err, got, tc.want)
		}
	}
}
