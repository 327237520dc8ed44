// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/taskiso/taskiso/internal/flags"
	"github.com/taskiso/taskiso/internal/output"
	"github.com/taskiso/taskiso/internal/report/screen"
)

// screenOptions are those of every command that prints the first screen of a report.
type screenOptions struct {
	full bool
	sort flags.Choice
}

func (o *screenOptions) register(f *pflag.FlagSet) {
	o.sort = flags.NewChoice(screen.Orders()...)
	f.BoolVar(&o.full, "full", false, "print the whole report: every cause, origin and limit")
	f.Var(&o.sort, "sort", "order causes by `FIGURE`: time, count or longest")
}

func (p *program) reportCommand() *cobra.Command {
	var o screenOptions
	c := &cobra.Command{
		Use:   "report FILE",
		Short: "Print a saved report",
		Long: `report prints what "taskiso run" or watch printed when it wrote FILE with --report: the
first screen, or with --full all of it.

The exit status is 0; 2 for a wrong command line or no such FILE; 125 if FILE cannot be read.`,
		Example: `  taskiso report app.json
  taskiso report --full app.json`,
		Args: some(1, 1, "one FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			return aboutFiles(screen.PrintFile(p.text(p.stdout), args[0], o.full, screen.Options{
				Width: output.Columns(os.Stdout, os.Getenv), Sort: o.sort.String(), Colour: output.WantsColour(os.Stdout), ASCII: p.ascii,
			}))
		},
	}
	o.register(c.Flags())
	return c
}
