// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line of taskiso.
package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/taskiso/taskiso/internal/kernfs"
	"github.com/taskiso/taskiso/internal/output"
	"github.com/taskiso/taskiso/internal/place"
	"github.com/taskiso/taskiso/internal/task"
)

// Exit statuses. A command's own status is passed through.
const (
	exitTooManyBreaks = 3   // --max-breaks or --trace-limit was exceeded
	exitViolated      = 4   // a --monitor was violated
	exitUsage         = 2   // the command line is wrong
	exitFailed        = 125 // taskiso itself could not do its work
	exitNotExecutable = 126 // as env(1): the command was found but cannot be executed
	exitNotFound      = 127 // as env(1)
	exitSignal        = 128 // plus the number of the signal that ended the command
)

// status is an error with an exit status, or with a nil err only a status.
type status struct {
	code int
	err  error
}

func (s *status) Error() string {
	if s.err == nil {
		return fmt.Sprintf("exit status %d", s.code)
	}
	return s.err.Error()
}

func (s *status) Unwrap() error { return s.err }

// usageError says that the command line cannot mean anything.
func usageError(format string, args ...any) error {
	return &status{exitUsage, fmt.Errorf(format, args...)}
}

// statusOf returns the exit status of an error that has none of its own.
func statusOf(err error) int {
	var request *place.RequestError
	var command *task.NotExecuted
	switch {
	case errors.As(err, &request):
		return exitUsage
	case errors.As(err, &command):
		return notExecuted(command)
	default:
		return exitFailed
	}
}

// outcomes are the exit statuses of verdicts.
func outcomes(o task.Outcome) int {
	switch o {
	case task.Exceeded:
		return exitTooManyBreaks
	case task.Violated:
		return exitViolated
	default:
		return exitFailed
	}
}

// ended gives what a command came to its exit status.
func ended(v task.Verdict, err error) error {
	switch {
	case err != nil:
		return err
	case v.Outcome == task.Passed:
		return nil
	case v.Outcome == task.CommandFailed:
		return &status{code: v.Status}
	default:
		return &status{outcomes(v.Outcome), v.Reason}
	}
}

// program is what all commands share.
type program struct {
	stdout, stderr io.Writer
	files          *kernfs.FS
	ascii          bool // the locale has no other signs
}

func (p *program) console() output.Console {
	return output.Console{Stdout: p.stdout, Stderr: p.stderr, ASCII: p.ascii}
}

func (p *program) text(w io.Writer) io.Writer { return p.console().Text(w) }

// warnings is where what can be done without is reported.
func (p *program) warnings(quiet bool) io.Writer {
	if quiet {
		return io.Discard
	}
	return p.stderr
}

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

func (p *program) exitStatus(err error) int {
	if err == nil {
		return 0
	}
	var s *status
	if !errors.As(err, &s) {
		s = &status{statusOf(err), err}
	}
	if s.err != nil {
		fmt.Fprintln(p.stderr, "taskiso:", oneLine(s.err))
	}
	return s.code
}

// oneLine returns an error as one line: also several errors, and the name of a file with a line break in it.
func oneLine(err error) string {
	text := strings.ReplaceAll(strings.TrimRight(err.Error(), "\n"), "\n", "; ")
	for _, dir := range []string{"sys/", "proc/"} { // file systems of Go have names without a slash in front
		text = strings.ReplaceAll(text, "open "+dir, "open /"+dir)
	}
	return text
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
	}
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.SetFlagErrorFunc(flagProblem)
	root.Flags().BoolP("version", "V", false, "print the version")
	root.AddCommand(p.runCommand(), p.watchCommand(), p.noiseCommand(), p.faultsCommand(), p.doctorCommand(), p.explainCommand(), p.entriesCommand(), p.partitionCommand(), p.holdCommand(), p.completionCommand())
	root.SetHelpCommand(helpCommand())
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

// version is that of the module the program was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}
	return info.Main.Version
}
