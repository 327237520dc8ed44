// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"github.com/taskiso/taskiso/internal/run"
)

func (p *program) redactCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "redact FILE -o REDACTED",
		Short: "Replace the names in a recording, to give it to others",
		Long: `redact writes the recording FILE to REDACTED with pseudonyms in place of the names of
tasks, command lines, paths and cgroups. The same name has the same pseudonym in
REDACTED, and another one each time; nobody can compute the name from it. Addresses of
the kernel are numbered, so that they do not show where the kernel is in memory.

What stays: times, numbers of processes and CPUs, names of kernel functions, kernel
threads and devices, the kernel's release, addresses in user mode.

The exit status is 0; 2 for a wrong command line or no such FILE; 125 if FILE cannot be
read or REDACTED cannot be written.`,
		Example: "  taskiso redact app.rec -o shared.rec",
		Args:    some(1, 1, "one FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			if output == "" {
				return usageError("name the file for the redacted recording with -o")
			}
			return aboutFiles(run.Redact(args[0], output))
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "write the redacted recording to `REDACTED`")
	return c
}
