// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/taskiso/taskiso/internal/printable"
	"github.com/taskiso/taskiso/internal/signame"
)

// flagProblem says in taskiso's words what is wrong with a flag: the library's name Go's types and functions.
func flagProblem(c *cobra.Command, err error) error {
	var value *pflag.InvalidValueError
	var required *pflag.ValueRequiredError
	var unknown *pflag.NotExistError
	var syntax *pflag.InvalidSyntaxError
	text := ""
	switch {
	case errors.As(err, &value):
		text = fmt.Sprintf("--%s %s: %s", value.GetFlag().Name, printable.Word(value.GetValue()), wanted(value.GetFlag(), value.Unwrap()))
	case errors.As(err, &required):
		name, usage := pflag.UnquoteUsage(required.GetFlag())
		text = fmt.Sprintf("--%s needs a value: --%[1]s %s, %s", required.GetFlag().Name, name, usage)
	case errors.As(err, &unknown):
		text = "unknown option " + unknownFlag(unknown)
	case errors.As(err, &syntax):
		text = "not an option: " + printable.Word(syntax.GetSpecifiedFlag())
	default:
		text = err.Error()
	}
	return usageError("%s; see %s --help", text, c.CommandPath())
}

func unknownFlag(err *pflag.NotExistError) string {
	if err.GetSpecifiedShortnames() == "" {
		return "--" + err.GetSpecifiedName()
	}
	return "-" + err.GetSpecifiedName()
}

// wanted says what a flag takes. The flags of our own types do it themselves.
func wanted(f *pflag.Flag, err error) string {
	if _, ours := f.Value.(*optionalFile); ours {
		return err.Error()
	}
	switch f.Value.Type() {
	case "int":
		return "want a whole number"
	case "uint64":
		return "want a whole number, 0 or more"
	case "bool":
		return "want true or false, or the option alone"
	case "stringSlice":
		return "want names with commas between them"
	}
	return err.Error()
}

// optionalFile is a flag that can be given alone, or with a file: --hold, --hold=FILE.
type optionalFile struct {
	given bool
	path  string // "" for none
}

// noFile is what the help shows as the value, and what the flag gets when it has none.
const noFile = "FILE"

func (o *optionalFile) String() string { return o.path }

// Type is that of flags whose help shows no type.
func (o *optionalFile) Type() string { return "bool" }

func (o *optionalFile) Set(text string) error {
	if text == "" {
		return errors.New("the name of its file is empty")
	}
	o.given = true
	if text != noFile {
		o.path = text
	}
	return nil
}

func (o *optionalFile) register(f *pflag.FlagSet, name, usage string) {
	f.VarPF(o, name, "", usage).NoOptDefVal = noFile
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
		if o, ok := f.Value.(*optionalFile); ok && o.path == "" && looksLikeFile {
			err = usageError("write --%s=%s: an option that can be given alone takes its file behind =", f.Name, args[0])
		}
	})
	return err
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

// oneArgument is for commands that take exactly one, as what says.
func oneArgument(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == 1 && args[0] != "" {
			return nil
		}
		return usageError("%s takes %s; see %[1]s --help", c.CommandPath(), what)
	}
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
