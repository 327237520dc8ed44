// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"flag"
	"path/filepath"
)

// Define adds the flags of a benchmark that measures a program beside peers, several times in turns, and returns what it
// does. Run gets the program's absolute path.
func Define(flags *flag.FlagSet, rounds int, out string, run func(program, out string, rounds int) error) func() error {
	program := flags.String("taskiso", "bin/taskiso", "`PROGRAM` to measure")
	flags.IntVar(&rounds, "rounds", rounds, "measure each `N` times, in turns")
	flags.StringVar(&out, "o", out, "write what was measured to `FILE`")
	return func() error {
		path, err := filepath.Abs(*program)
		if err != nil {
			return err
		}
		return run(path, out, rounds)
	}
}
