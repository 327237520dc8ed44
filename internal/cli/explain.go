// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/taskiso/taskiso/internal/cause"
	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/explain"
	"github.com/taskiso/taskiso/internal/run"
)

func (p *program) explainCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "explain [ID | FILE | -]",
		Short: "Explain a cause and what removes it",
		Long: `explain lists the causes that taskiso knows. With an ID it explains one of them; with
a FILE that "taskiso run --report FILE" or --record FILE has written (or watch, or noise;
"-" is standard input), those in the report or recording. It shows which remedies apply on
this machine.

The exit status is 0; 2 for a wrong command line; 125 if a FILE cannot be read.`,
		Example: `  taskiso explain tick
  taskiso run -d 10s --report app.json && taskiso explain app.json
  taskiso explain app.rec
  taskiso run --json -d 10s | taskiso explain -`,
		Args:              some(0, 1, "one ID or FILE"),
		ValidArgsFunction: completeCauses,
		RunE:              func(_ *cobra.Command, args []string) error { return p.explain(args, asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (p *program) explain(args []string, asJSON bool) error {
	catalogue, err := cause.Load()
	if err != nil {
		return err
	}
	e := explain.New(catalogue, p.files.View(), run.ReadReport)
	var what explain.Answer = e.List()
	if len(args) > 0 {
		what, err = e.Of(args[0], os.Stdin)
	}
	switch {
	case errors.Is(err, cause.ErrUnknown):
		return usageError("%w%s; \"taskiso explain\" lists all", err, didYouMean(catalogue.Near(args[0])))
	case err != nil:
		return aboutFiles(err)
	}
	if asJSON {
		err = display.JSON(p.stdout, what)
	} else {
		_, err = io.WriteString(p.text(p.stdout), what.Text())
	}
	if err != nil {
		return fmt.Errorf("writing the explanation: %w", err)
	}
	return nil
}

// completeCauses offers the causes by their IDs, and files.
func completeCauses(_ *cobra.Command, given []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	catalogue, err := cause.Load()
	if len(given) > 0 || err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var ids []cobra.Completion
	for _, row := range catalogue.Rows() {
		ids = append(ids, cobra.CompletionWithDesc(row.ID, row.Title))
	}
	return ids, cobra.ShellCompDirectiveDefault
}
