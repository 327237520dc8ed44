// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime/debug"
	"strings"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/kernfs"
	"github.com/taskiso/taskiso/internal/output"
	"github.com/taskiso/taskiso/internal/printable"
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

// usageError is the error of a command line that cannot mean anything.
func usageError(format string, args ...any) error {
	return &status{exitUsage, fmt.Errorf(format, args...)}
}

// aboutFiles gives an error about files that the command line names the status of a name for nothing, if one is not there.
func aboutFiles(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return usageError("%w", err)
	}
	return err
}

// statusOf returns the exit status of an error that has none of its own.
func statusOf(err error) int {
	var request *task.RequestError
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

// notExecuted returns the exit status that env(1) gives an error about a command.
func notExecuted(err error) int {
	if errors.Is(err, fs.ErrNotExist) {
		return exitNotFound
	}
	return exitNotExecutable
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
		fmt.Fprint(p.stderr, printable.Line("taskiso: %s", oneLine(s.err)))
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

// print writes v as JSON, or as text.
func (p *program) print(asJSON bool, v any, text func(io.Writer) error) error {
	var err error
	if asJSON {
		err = display.JSON(p.stdout, v)
	} else {
		err = text(p.text(p.stdout))
	}
	if err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

// version is that of the module the program was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}
	return info.Main.Version
}
