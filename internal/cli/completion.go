// SPDX-License-Identifier: Apache-2.0

package cli

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// bashWords stands in for a function of the package bash-completion where that is not installed.
//
//go:embed completion.bash
var bashWords string

func (p *program) completionCommand() *cobra.Command {
	shells := []string{"bash", "fish", "powershell", "zsh"}
	return &cobra.Command{
		Use:   "completion {bash | fish | powershell | zsh}",
		Short: "Print a script that completes taskiso's commands in a shell",
		Long: `completion prints a script for a shell. It needs no package; with bash:

  taskiso completion bash > ~/.local/share/bash-completion/completions/taskiso

or, for this shell only, source <(taskiso completion bash).`,
		ValidArgs: shells,
		Args:      oneOf(shells...),
		RunE: func(c *cobra.Command, args []string) error {
			root := c.Root()
			var err error
			switch args[0] {
			case "bash":
				if _, err = fmt.Fprint(p.stdout, bashWords); err == nil {
					err = root.GenBashCompletionV2(p.stdout, true)
				}
			case "fish":
				err = root.GenFishCompletion(p.stdout, true)
			case "powershell":
				err = root.GenPowerShellCompletionWithDesc(p.stdout)
			case "zsh":
				err = root.GenZshCompletion(p.stdout)
			}
			if err != nil {
				return fmt.Errorf("writing the script: %w", err)
			}
			return nil
		},
	}
}

// oneOf is for commands that take one of some words.
func oneOf(words ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == 1 && slices.Contains(words, args[0]) {
			return nil
		}
		return usageError("%s takes one of %s; see %[1]s --help", c.CommandPath(), strings.Join(words, ", "))
	}
}

// plainDescriptions takes the quotes out of the descriptions of flags: only the help uses them.
func plainDescriptions(c *cobra.Command) {
	c.Flags().VisitAll(func(f *pflag.Flag) { f.Usage = strings.ReplaceAll(f.Usage, "`", "") })
	for _, sub := range c.Commands() {
		plainDescriptions(sub)
	}
}
