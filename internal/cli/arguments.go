// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/taskiso/taskiso/internal/flags"
	"github.com/taskiso/taskiso/internal/printable"
	"github.com/taskiso/taskiso/internal/signame"
)

// flagProblem returns what is wrong with a flag.
func flagProblem(c *cobra.Command, err error) error {
	return usageError("%s; see %s --help", flags.Problem(err), c.CommandPath())
}

// refuseEmptyValues refuses options with an empty value. A script whose variable is empty would otherwise run as root
// instead of as its user, or pass without its budget.
func refuseEmptyValues(c *cobra.Command, _ []string) (err error) {
	c.Flags().Visit(func(f *pflag.Flag) {
		if err == nil && flags.IsEmptyText(f) {
			err = usageError("--%s \"\": the value is empty; see %s --help", f.Name, c.CommandPath())
		}
	})
	return err
}

// commandOf returns the command that args are, nil for none. Flags end at the first word that is none, or at "--".
func commandOf(c *cobra.Command, args []string) ([]string, error) {
	if c.ArgsLenAtDash() == 0 && len(args) == 0 {
		return nil, usageError("there is no command after --; see %s --help", c.CommandPath())
	}
	if len(args) == 0 {
		return nil, nil
	}
	if args[0] == "" {
		return nil, usageError("the command is an empty word")
	}
	if c.ArgsLenAtDash() < 0 {
		return args, fileWithoutEquals(c, args)
	}
	return args, nil
}

// fileWithoutEquals finds "--hold hold.toml": a flag that can be given alone has its file behind "=".
func fileWithoutEquals(c *cobra.Command, args []string) (err error) {
	looksLikeFile := strings.HasSuffix(args[0], ".toml") || len(args) > 1 && args[1] == "--"
	c.Flags().Visit(func(f *pflag.Flag) {
		if o, ok := f.Value.(*flags.OptionalFile); ok && o.Path == "" && looksLikeFile {
			err = usageError("write --%s=%s: an option that can be given alone takes its file behind =", f.Name, args[0])
		}
	})
	return err
}

// some is for commands that take at least so many arguments, and at most so many, or any number if that is 0; what names them.
func some(least, most int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) >= least && (most == 0 || len(args) <= most) && !slices.Contains(args, "") {
			return nil
		}
		return usageError("%s takes %s; see %[1]s --help", c.CommandPath(), what)
	}
}

// noArguments is for commands that take none.
func noArguments(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if c.HasSubCommands() {
		return unknownCommand(c, args[0])
	}
	return usageError("%s takes no arguments, but was given %s; see %[1]s --help", c.CommandPath(), printable.Word(args[0]))
}

func unknownCommand(c *cobra.Command, name string) error {
	meant := didYouMean(c.SuggestionsFor(name))
	if meant == "" {
		meant = "; see " + c.CommandPath() + " --help"
	}
	return usageError("unknown command %s%s", printable.Word(name), meant)
}

// parseSignal returns the signal of that name or number, 0 for "".
func parseSignal(text string) (syscall.Signal, error) {
	if text == "" {
		return 0, nil
	}
	signal, err := signame.Parse(text)
	if err != nil {
		return 0, usageError("%w", err)
	}
	return signal, nil
}

func didYouMean(ids []string) string {
	if len(ids) == 0 {
		return ""
	}
	return ", did you mean " + strings.Join(ids, " or ") + "?"
}

// given returns which of these flags the command line has, as they are written there.
func given(c *cobra.Command, names ...string) (flags []string) {
	for _, name := range names {
		if c.Flags().Changed(name) {
			flags = append(flags, "--"+name)
		}
	}
	return flags
}
