// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/taskiso/taskiso/internal/compare"
	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/output"
	"github.com/taskiso/taskiso/internal/run"
)

// diffOptions are those of taskiso diff.
type diffOptions struct {
	before, after       []string
	all, json, markdown bool
}

func (p *program) diffCommand() *cobra.Command {
	var opts diffOptions
	c := &cobra.Command{
		Use:   "diff [BEFORE AFTER]",
		Short: "Compare reports from before and after a change",
		Long: `diff compares what interrupted a task before a change and after it, in reports or
recordings that "taskiso run" or watch has written with --report FILE or --record FILE:
which causes interrupt more often, less often, for the first time or no longer, on which
CPU and because of which process, each with an interval for the ratio of the two rates.

Give several reports of each side: equal runs differ from each other too, and only several
of each show how much. Of 20 comparisons of equal runs, one finds a
difference at most. docs/compare.md describes the figures.

The exit status is 0 if nothing was found to interrupt more often, which with few or short
runs does not mean that nothing does; 3 if something does; 2 for a wrong command line; 125
if what was seen is in doubt, or the reports cannot be compared.`,
		Example: `  taskiso run -c 3 -d 1m --report before.json -- ./app
  taskiso diff before.json after.json
  taskiso diff before.rec after.rec
  taskiso diff --before 'old-*.json' --after 'new-*.json' --markdown`,
		Args: func(_ *cobra.Command, args []string) error { return opts.check(args) },
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 2 {
				opts.before, opts.after = args[:1], args[1:]
			}
			return p.diff(opts)
		},
	}
	c.Flags().StringArrayVar(&opts.before, "before", nil, "a report or recording from before the change, or a `PATTERN` of them; can be repeated")
	c.Flags().StringArrayVar(&opts.after, "after", nil, "a report or recording from after it, or a `PATTERN`; can be repeated")
	c.Flags().BoolVar(&opts.all, "all", false, "list what does not differ, too")
	c.Flags().BoolVar(&opts.json, "json", false, "print JSON")
	c.Flags().BoolVar(&opts.markdown, "markdown", false, "print Markdown, for a pull request")
	c.MarkFlagsMutuallyExclusive("json", "markdown")
	return c
}

func (o *diffOptions) check(args []string) error {
	given := len(o.before) > 0 || len(o.after) > 0
	switch {
	case given && len(args) > 0:
		return usageError("%q stands beside --before or --after: give all reports in the same way", args[0])
	case given && (len(o.before) == 0 || len(o.after) == 0):
		return usageError("--before and --after go together: give reports of both sides")
	case !given && len(args) != 2:
		return usageError("taskiso diff takes two reports, BEFORE and AFTER; for more of each, repeat --before FILE and --after FILE")
	}
	return nil
}

func (p *program) diff(opts diffOptions) error {
	before, err := runsOf(opts.before)
	if err != nil {
		return err
	}
	after, err := runsOf(opts.after)
	if err != nil {
		return err
	}
	result, err := compare.Compare(version(), before, after)
	if err != nil {
		return err
	}
	switch {
	case opts.json:
		err = display.JSON(p.stdout, result)
	case opts.markdown:
		err = result.WriteMarkdown(p.stdout)
	default:
		err = result.WriteText(p.text(p.stdout), output.Width(os.Stdout), opts.all)
	}
	if err != nil {
		return err
	}
	switch result.Verdict {
	case compare.Worse:
		return &status{exitTooManyBreaks, nil}
	case compare.Unknown:
		return &status{exitFailed, nil}
	}
	return nil
}

func runsOf(patterns []string) ([]compare.Run, error) {
	runs, err := compare.ReadRuns(patterns, run.ReadReport)
	if errors.Is(err, filepath.ErrBadPattern) {
		return nil, usageError("%w", err)
	}
	return runs, aboutFiles(err)
}
