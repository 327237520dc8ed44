// SPDX-License-Identifier: Apache-2.0

// Package proc reads what procfs shows of processes and threads.
//
// As in package topology, every function takes the root of the file tree as an
// [fs.FS], and nothing is cached. A directory is that of a process ("proc/12"), or
// of a thread ("proc/12/task/13"). One that has ended has no files, or files that
// cannot be read: the errors match [fs.ErrNotExist] or ESRCH.
package proc

import (
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// Process returns the directory of a process. Linux has one for any thread too,
// which shows the thread but lists the threads, and adds up the times, of its process.
func Process(pid int) string { return path.Join("proc", strconv.Itoa(pid)) }

// Thread returns the directory of a thread.
func Thread(pid, tid int) string { return path.Join(Process(pid), "task", strconv.Itoa(tid)) }

// Processes returns the numbers of all processes, in the order of their names.
func Processes(files fs.FS) ([]int, error) { return Numbered(files, "proc") }

// Threads returns the numbers of the threads of a process.
func Threads(files fs.FS, pid int) ([]int, error) {
	return Numbered(files, path.Join(Process(pid), "task"))
}

// Numbered returns the entries of a directory that are numbers, in the order of
// their names: "10" comes before "9".
func Numbered(files fs.FS, dir string) ([]int, error) {
	entries, err := fs.ReadDir(files, dir)
	if err != nil {
		return nil, err
	}
	numbers := make([]int, 0, len(entries))
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			numbers = append(numbers, n)
		}
	}
	return numbers, nil
}

// Comm returns the name of a process or thread. The program itself can choose it.
func Comm(files fs.FS, dir string) (string, error) {
	text, err := read(files, dir, "comm")
	return strings.TrimSpace(text), err
}

// Cgroup returns the path of the cgroup of a process or thread: that of the unified
// hierarchy (cgroups(7)), or else that of the first one of version 1.
func Cgroup(files fs.FS, dir string) (cgroup string, unified bool, err error) {
	text, err := read(files, dir, "cgroup")
	cgroup, unified = parseCgroup(text)
	return cgroup, unified, err
}

func parseCgroup(text string) (dir string, unified bool) {
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(fields) < 3:
		case fields[0] == "0":
			return fields[2], true
		case dir == "":
			dir = fields[2]
		}
	}
	return dir, false
}

func read(files fs.FS, dir, file string) (string, error) {
	text, err := fs.ReadFile(files, path.Join(dir, file))
	return string(text), err
}
