// SPDX-License-Identifier: Apache-2.0

package flags

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/taskiso/taskiso/internal/printable"
)

// Problem describes in plain words what is wrong with a flag: the messages of the library name types and functions of Go.
func Problem(err error) string {
	var value *pflag.InvalidValueError
	var required *pflag.ValueRequiredError
	var unknown *pflag.NotExistError
	var syntax *pflag.InvalidSyntaxError
	switch {
	case errors.As(err, &value):
		return fmt.Sprintf("--%s %s: %s", value.GetFlag().Name, printable.Word(value.GetValue()), wanted(value.GetFlag(), value.Unwrap()))
	case errors.As(err, &required):
		name, usage := pflag.UnquoteUsage(required.GetFlag())
		return fmt.Sprintf("--%s needs a value: --%[1]s %s, %s", required.GetFlag().Name, name, usage)
	case errors.As(err, &unknown):
		return "unknown option " + unknownFlag(unknown)
	case errors.As(err, &syntax):
		return "not an option: " + printable.Word(syntax.GetSpecifiedFlag())
	}
	return err.Error()
}

// IsEmptyText reports whether a flag that takes a text, or texts with commas between them, has none.
func IsEmptyText(f *pflag.Flag) bool {
	switch f.Value.Type() {
	case "string":
		return f.Value.String() == ""
	case "stringSlice":
		return f.Value.String() == "[]"
	}
	return false
}

func unknownFlag(err *pflag.NotExistError) string {
	if err.GetSpecifiedShortnames() == "" {
		return "--" + err.GetSpecifiedName()
	}
	return "-" + err.GetSpecifiedName()
}

// wanted is what a flag takes. The flags of our own types do it themselves.
func wanted(f *pflag.Flag, err error) string {
	if _, ours := f.Value.(*OptionalFile); ours {
		return err.Error()
	}
	switch f.Value.Type() {
	case "int":
		return "want a whole number"
	case "uint64":
		return "want a whole number, 0 or more"
	case "float64":
		return "want a number"
	case "bool":
		return "want true or false, or the option alone"
	case "stringSlice":
		return "want names with commas between them"
	}
	return err.Error()
}
