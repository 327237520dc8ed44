// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line of taskiso.
package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/taskiso/taskiso/internal/kernfs"
	"github.com/taskiso/taskiso/internal/output"
)

// Main runs taskiso with args and returns its exit status.
func Main(args []string) int {
	files, err := kernfs.OpenWritable("/")
	if err != nil {
		fmt.Fprintln(os.Stderr, "taskiso:", err)
		return exitFailed
	}
	defer files.Close()
	p := &program{stdout: output.NewPrinted(os.Stdout), files: files, ascii: output.IsASCII(os.Getenv)}
	p.stderr = p.text(os.Stderr)
	return p.execute(args...)
}

// execute runs a command line and returns its exit status.
func (p *program) execute(args ...string) int {
	root := p.rootCommand()
	root.SetArgs(args)
	if len(args) > 0 && args[0] == cobra.ShellCompRequestCmd {
		plainDescriptions(root)
	}
	err := root.Execute()
	if out, ok := p.stdout.(*output.Printed); ok && err == nil {
		err = out.Problem()
	}
	return p.exitStatus(err)
}

func (p *program) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "taskiso",
		Short: "Run tasks on CPUs of their own and see what interrupts them",
		Long: `taskiso runs a task on a CPU of its own and reports every kernel entry that
interrupted it: what it was, how long it took, and who caused it.`,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArguments,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },

		PersistentPreRunE: refuseEmptyValues,
	}
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.SetFlagErrorFunc(flagProblem)
	root.Flags().BoolP("version", "V", false, "print the version")
	root.AddCommand(p.runCommand(), p.watchCommand(), p.noiseCommand(), p.faultsCommand(), p.doctorCommand(), p.explainCommand(), p.reportCommand(), p.cutCommand(), p.snapshotCommand(), p.redactCommand(), p.budgetCommand(), p.diffCommand(), p.entriesCommand(), p.partitionCommand(), p.holdCommand(), p.completionCommand())
	root.SetHelpCommand(helpCommand())
	root.AddCommand(p.exportCommand())
	suggest(root)
	return root
}

// suggest prepares c and all commands below it to name what was probably meant by a name that is unknown.
func suggest(c *cobra.Command) {
	c.SuggestionsMinimumDistance = 2
	for _, sub := range c.Commands() {
		suggest(sub)
	}
}

func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show the help of a command",
		RunE: func(c *cobra.Command, args []string) error {
			of, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(of, rest[0])
			}
			of.InitDefaultHelpFlag()
			return of.Help()
		},
		ValidArgsFunction: func(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var names []cobra.Completion
			if of, rest, err := c.Root().Find(args); err == nil && len(rest) == 0 {
				for _, sub := range of.Commands() {
					names = append(names, cobra.CompletionWithDesc(sub.Name(), sub.Short))
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}
