// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/kernfs"
	"github.com/taskiso/taskiso/internal/output"
)

// full is a standard output like /dev/full.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, unix.ENOSPC }

// Who could print nothing has not done what was asked.
func TestNothingCanBePrinted(t *testing.T) {
	for _, args := range []string{
		"--help", "--version", "help run", "run --help", "partition", "completion bash",
		"entries", "entries --json", "doctor", "explain", "explain tick --json", "partition list", "partition plan -c 1", "hold operations",
	} {
		files, err := kernfs.Open("/")
		if err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		p := &program{stdout: output.NewPrinted(full{}), stderr: &stderr, files: files}
		if got := p.execute(strings.Fields(args)...); got != exitFailed || !strings.HasSuffix(stderr.String(), ": no space left on device\n") || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("taskiso %s: exit status %d, want 125; %q", args, got, stderr.String())
		}
		files.Close()
	}
}
