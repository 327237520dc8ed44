// SPDX-License-Identifier: Apache-2.0

package flags

import (
	"errors"

	"github.com/spf13/pflag"
)

// OptionalFile is a flag that can be given alone, or with a file: --hold, --hold=FILE.
type OptionalFile struct {
	Given bool
	Path  string // "" for none
}

// noFile is what the help shows as the value, and what the flag gets when it has none.
const noFile = "FILE"

// String returns the name of the file.
func (o *OptionalFile) String() string { return o.Path }

// Type is that of flags whose help shows no type.
func (o *OptionalFile) Type() string { return "bool" }

// Set takes the name of the file, or noFile.
func (o *OptionalFile) Set(text string) error {
	if text == "" {
		return errors.New("the name of its file is empty")
	}
	o.Given = true
	if text != noFile {
		o.Path = text
	}
	return nil
}

// Register adds it to flags.
func (o *OptionalFile) Register(f *pflag.FlagSet, name, usage string) {
	f.VarPF(o, name, "", usage).NoOptDefVal = noFile
}
