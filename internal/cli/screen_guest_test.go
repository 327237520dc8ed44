// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/taskiso/taskiso/internal/report"
)

// pasted finds the command of the screen that sets the CPU apart.
var pasted = regexp.MustCompile(`(?m)^  A   now +ends +[0-9,]+  sudo (taskiso .*)$`)

// The command that a screen prints, pasted, ends what the screen promises: tasks that took the CPU from the loop take it no more.
func TestGuestScreenEndsWhatItSays(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var others sync.WaitGroup
	defer others.Wait()
	defer cancel()
	for range 6 { // on the CPUs of a balanced domain, which CPU 1 is in
		others.Go(func() {
			for ctx.Err() == nil {
				exec.CommandContext(ctx, appProgram).Run() // it is ended in the middle, too
			}
		})
	}
	before, code, screen := runProgram(t, "run", "-c", "1", "-d", "2s")
	command := pasted.FindStringSubmatch(screen)
	if command == nil || code != 0 {
		t.Fatalf("exit status %d, no command to paste:\n%s", code, screen)
	}
	after, code, more := runProgram(t, append(strings.Fields(command[1])[1:], "-d", "2s")...)
	t.Logf("before:\n%s\nafter %s:\n%s", screen, command[1], more)
	promised := make(map[string]bool)
	var was, is uint64
	for _, c := range before.CPUs[0].Causes {
		if c.Partition == report.PartitionEnds {
			promised[c.ID+" "+c.Detail] = true
			was += c.Count
		}
	}
	for _, c := range after.CPUs[0].Causes {
		if promised[c.ID+" "+c.Detail] {
			t.Logf("still there: %d times %s %s", c.Count, c.ID, c.Detail)
			is += c.Count
		}
	}
	if !promised["task-user app"] || was == 0 || is > was/10 || code != 0 {
		t.Errorf("of %d breaks that were to end there were %d after it; to end were %v", was, is, promised)
	}
	if strings.Contains(more, "  now      ends") || !strings.Contains(more, "set apart for this run") {
		t.Errorf("in a partition another one is offered:\n%s", more)
	}
}
