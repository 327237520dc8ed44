// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/taskiso/taskiso/internal/claim"
	"github.com/taskiso/taskiso/internal/flight"
)

func (p *program) snapshotCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "snapshot [PID]",
		Short: "Keep the past of a running flight recorder now",
		Long: `snapshot has the "taskiso run --flight" or "taskiso watch --flight" that is running, or
process PID if there are several, keep a snapshot, waits until that is written, and
prints the name of its file. It finds those of the same user only: of root in
/run/taskiso, of others in $XDG_RUNTIME_DIR/taskiso. SIGUSR1 to the recorder does
the same, without an answer.

The exit status is 0; 2 for a wrong command line; 125 if no recorder is running, or the
snapshot could not be kept.`,
		Example: `  taskiso snapshot
  taskiso snapshot 4711`,
		Args: some(0, 1, "the PID of a recorder at most"),
		RunE: func(_ *cobra.Command, args []string) error {
			pid := 0
			if len(args) == 1 {
				var err error
				if pid, err = strconv.Atoi(args[0]); err != nil || pid <= 0 {
					return usageError("%q is not the number of a process", args[0])
				}
			}
			return p.snapshot(pid, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the answer as JSON")
	return c
}

func (p *program) snapshot(pid int, asJSON bool) error {
	kept, err := flight.Ask(claim.Own(flight.Sockets), pid)
	if err != nil {
		return err
	}
	if kept.Failed != "" {
		return errors.New(kept.Failed)
	}
	return p.print(asJSON, kept, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, kept.File)
		return err
	})
}
