// SPDX-License-Identifier: Apache-2.0

// Package task waits for the end of a task, or of what is observed of it, and polls meanwhile; it passes signals on to a
// task of ours, ends it, and names its exit status.
package task

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/launch"
)

// Signalled handles a signal to taskiso and reports whether the signal ends the work. A signal is passed on to a command
// instead; command is nil if the process is not a command of the user.
func Signalled(command *launch.Process, sig os.Signal) (ends bool) {
	if command == nil {
		return Ends(sig)
	}
	passOn(command, sig)
	return false
}

// Ends reports whether a signal to taskiso ends the work.
func Ends(sig os.Signal) bool { return sig != syscall.SIGUSR1 && sig != syscall.SIGUSR2 }

// passOn gives a signal to a command, unless the terminal has sent it to both.
func passOn(command *launch.Process, sig os.Signal) {
	fromTerminal := sig == syscall.SIGINT || sig == syscall.SIGQUIT
	if !fromTerminal || !controlsTerminal() {
		command.Signal(sig)
	}
}

// controlsTerminal reports whether the terminal on standard input sends its
// signals to this process and its children alike.
func controlsTerminal() bool {
	foreground, err := unix.IoctlGetInt(int(os.Stdin.Fd()), unix.TIOCGPGRP)
	return err == nil && foreground == unix.Getpgrp()
}

// killAfter is how long a command has to end after SIGTERM.
const killAfter = 5 * time.Second

// End ends the process and returns how it ended.
// A signal to taskiso ends the wait for it.
func End(process *launch.Process, exited <-chan *os.ProcessState, signals <-chan os.Signal) *os.ProcessState {
	process.Signal(syscall.SIGTERM)
	select {
	case state := <-exited:
		return state
	case <-signals:
	case <-time.After(killAfter):
	}
	process.End()
	return <-exited
}

// Exited returns a channel that gets how the process ended. It is to be called once.
func Exited(process *launch.Process) <-chan *os.ProcessState {
	exited := make(chan *os.ProcessState, 1)
	go func() { exited <- process.Wait() }()
	return exited
}

// killed is the exit status of a command that signal 0 would have ended.
const killed = 128

// ExitCode returns a command's status as a shell would.
func ExitCode(state *os.ProcessState) int {
	ws, ok := state.Sys().(syscall.WaitStatus)
	if ok && ws.Signaled() {
		return killed + int(ws.Signal())
	}
	return state.ExitCode()
}
