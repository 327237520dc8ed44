// SPDX-License-Identifier: Apache-2.0

package task

import (
	"fmt"
	"os"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/launch"
)

// NotExecuted is the error of a command that was not found, or cannot be executed.
type NotExecuted struct {
	Name string
	Err  error // matches fs.ErrNotExist if it was not found
}

func (e *NotExecuted) Error() string { return fmt.Sprintf("executing %s: %v", e.Name, e.Err) }
func (e *NotExecuted) Unwrap() error { return e.Err }

// Command returns the command of these words, with the environment of this process. An error is a *NotExecuted.
func Command(args []string, cpus cpulist.Set) (*launch.Command, error) {
	path, err := launch.Find(args[0])
	if err != nil {
		return nil, &NotExecuted{args[0], err}
	}
	return &launch.Command{Path: path, Args: args, Env: os.Environ(), CPUs: cpus}, nil
}

// CommandAs is Command for a user, "" for that of taskiso. It returns nil for no words.
func CommandAs(args []string, user string, cpus cpulist.Set) (*launch.Command, error) {
	if len(args) == 0 {
		if user != "" {
			return nil, &RequestError{fmt.Errorf("--user %s needs a command", user)}
		}
		return nil, nil
	}
	c, err := Command(args, cpus)
	if err != nil {
		return nil, err
	}
	if user != "" {
		if err := AssumeUser(c, user); err != nil {
			return nil, err
		}
	}
	return c, nil
}
