// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line of taskiso.
package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/taskiso/taskiso/internal/kernfs"
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

// program is what all commands share.
type program struct {
	stdout, stderr io.Writer
	files          *kernfs.FS
}

// Main runs taskiso with args and returns its exit status.
func Main(args []string) int {
	files, err := kernfs.OpenWritable("/")
	if err != nil {
		fmt.Fprintln(os.Stderr, "taskiso:", err)
		return exitFailed
	}
	defer files.Close()
	p := &program{stdout: os.Stdout, stderr: os.Stderr, files: files}
	root := p.rootCommand()
	root.SetArgs(args)
	return p.exitStatus(root.Execute())
}

func (p *program) exitStatus(err error) int {
	if err == nil {
		return 0
	}
	var s *status
	if !errors.As(err, &s) {
		s = &status{exitFailed, err}
	}
	if s.err != nil {
		fmt.Fprintln(p.stderr, "taskiso:", s.err)
	}
	return s.code
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
	}
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError("%w; see %s --help", err, c.CommandPath())
	})
	root.AddCommand(p.runCommand(), p.watchCommand(), p.noiseCommand(), p.faultsCommand(), p.doctorCommand(), p.explainCommand(), p.entriesCommand(), p.partitionCommand(), p.holdCommand())
	usageOfArgs(root)
	root.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usageError("unknown command %q; see taskiso --help", args[0])
		}
		return c.Help()
	}
	root.Args = cobra.ArbitraryArgs
	return root
}

// usageOfArgs makes wrong arguments of all commands below c usage errors.
func usageOfArgs(c *cobra.Command) {
	for _, c := range c.Commands() {
		args := c.Args
		c.Args = func(c *cobra.Command, given []string) error {
			if args == nil {
				return nil
			}
			if err := args(c, given); err != nil {
				return usageError("%w; see %s --help", err, c.CommandPath())
			}
			return nil
		}
		usageOfArgs(c)
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
