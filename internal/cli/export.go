// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/taskiso/taskiso/internal/run"
)

func (p *program) exportCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "export {perfetto | pprof | ndjson | csv} FILE",
		Short: "Write a recording for other programs",
		Long: `export writes what a recording holds, which "taskiso run --record FILE" or watch has made,
in a format of other programs:

  perfetto  a timeline for https://ui.perfetto.dev: each CPU with the breaks and what was
            done in them, senders with arrows to what they caused, isolation of threads
  pprof     who interrupted, as stacks: what --pprof of run, watch and report writes
  ndjson    a JSON object for each break: what --events of run, watch and report writes
  csv       a line for each break, for spreadsheets; docs/export.md lists the columns

FILE may be damaged, or have no end because taskiso was killed or still records: what can be
read is written, and what is missing is printed on standard error and shown in the timeline.

The exit status is 0; 2 for a wrong command line or no such FILE; 125 if FILE is not a
recording, or the output cannot be written.`,
		Example: `  taskiso run -c 3 --record app.rec -- ./app
  taskiso export perfetto app.rec -o app.pftrace    # then open it in https://ui.perfetto.dev
  taskiso export csv app.rec -o app.csv
  taskiso export ndjson app.rec -o /dev/stdout | jq .title`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 2 || args[1] == "" || !slices.Contains(run.ExportFormats(), args[0]) || out == "" {
				return usageError("%s takes one of %s, a FILE, and -o FILE; see %[1]s --help", c.CommandPath(), strings.Join(run.ExportFormats(), ", "))
			}
			return nil
		},
		ValidArgsFunction: completeFormats,
		RunE: func(_ *cobra.Command, args []string) error {
			return aboutFiles(run.Export(p.console(), args[0], args[1], out))
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "write to `FILE`")
	return c
}

// completeFormats offers the formats, and then files.
func completeFormats(_ *cobra.Command, given []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	switch len(given) {
	case 0:
		return run.ExportFormats(), cobra.ShellCompDirectiveNoFileComp
	case 1:
		return nil, cobra.ShellCompDirectiveDefault
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}
