// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/taskiso/taskiso/internal/measure"
	"github.com/taskiso/taskiso/internal/run"
)

func (p *program) reportCommand() *cobra.Command {
	var o screenOptions
	var cfg run.OutputConfig
	c := &cobra.Command{
		Use:   "report FILE",
		Short: "Print a saved report or a recording",
		Long: `report prints what "taskiso run" or watch printed when it wrote FILE with --report or
--record: the first screen, or with --full all of it.

A recording is observed again: with --report it gives the report, with --events each
break, and with --pprof the profile, that the run itself would have written. That of a
noise gives its report, and that of a hold its lines, or with --json its objects. One
that has no end, because taskiso was killed or still records, is read as far as it goes;
how many breaks there were is unknown then.

The exit status is 0; 2 for a wrong command line or no such FILE; 125 if FILE cannot be read.`,
		Example: `  taskiso report app.json
  taskiso report --full app.json
  taskiso report app.rec --report app.json --events app.ndjson
  taskiso report app.rec --pprof app.pb.gz    # go tool pprof -http=: app.pb.gz`,
		Args: some(1, 1, "one FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			cfg.Full, cfg.Sort = o.full, o.sort.String()
			return aboutFiles(measure.Report(p.console(), args[0], cfg, p.stdout, os.Stdout))
		},
	}
	f := c.Flags()
	o.register(f)
	f.StringVar(&cfg.Report, "report", "", "write the report as JSON to `FILE`")
	registerOutput(f, &cfg.Text)
	f.StringVar(&cfg.Events, "events", "", "write one JSON object for each break of a recording to `FILE`")
	f.StringVar(&cfg.Profile, "pprof", "", profileUsage)
	f.BoolVar(&cfg.JSON, "json", false, "print the report as JSON")
	return c
}
