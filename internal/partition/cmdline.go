// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"strings"

	"github.com/taskiso/taskiso/internal/printable"
)

// argument is one word of the kernel's command line, as the kernel takes it.
type argument struct {
	name  string // with underscores: the kernel takes a dash for one (kernel/params.c: parameq)
	value string // without the quotes around it
	text  string // as it stands there
}

// arguments splits a command line as next_arg of the kernel's lib/cmdline.c does.
// What follows "--" is for init (kernel/params.c: parse_args).
func arguments(line string) []argument {
	var list []argument
	for {
		line = strings.TrimLeft(line, blanks)
		if line == "" {
			return list
		}
		var a argument
		a, line = nextArgument(line)
		if a.name == "__" && a.value == "" {
			return list
		}
		list = append(list, a)
	}
}

// lineWarnings names the places on a command line where the kernel would not take new words.
func lineWarnings(line string) (list []string) {
	for _, a := range arguments(line) {
		if strings.Count(a.text, `"`)%2 == 1 {
			list = append(list, "a quote of the command line is not closed, and all that stands behind it is a part of "+printable.Text(a.text)+": close it, or write new words in front of it")
		}
	}
	rest := line
	for range arguments(line) {
		_, rest = nextArgument(strings.TrimLeft(rest, blanks))
	}
	if rest = strings.TrimSpace(rest); rest != "" {
		list = append(list, "the command line has \"--\": what stands behind it is for init, so write new words in front of it")
	}
	return list
}

const blanks = " \t\n\v\f\r"

// nextArgument takes the first word off. Blanks inside of quotes belong to it, and
// quotes go away in two places: around all of it, and around its value.
func nextArgument(line string) (a argument, rest string) {
	body, quoted := strings.CutPrefix(line, `"`)
	end, equals, inQuotes := 0, 0, quoted
	for ; end < len(body); end++ {
		c := body[end]
		if strings.IndexByte(blanks, c) >= 0 && !inQuotes {
			break
		}
		if c == '=' && equals == 0 {
			equals = end
		}
		if c == '"' {
			inQuotes = !inQuotes
		}
	}
	a.text, rest = line[:len(line)-len(body)+end], body[end:]
	name, value := body[:end], ""
	if equals > 0 {
		name, value = body[:equals], body[equals+1:end]
	}
	inner, valueQuoted := strings.CutPrefix(value, `"`)
	switch {
	case valueQuoted:
		value = strings.TrimSuffix(inner, `"`)
	case quoted && equals > 0:
		value = strings.TrimSuffix(value, `"`)
	case quoted:
		name = strings.TrimSuffix(name, `"`)
	}
	a.name, a.value = strings.ReplaceAll(name, "-", "_"), value
	return a, rest
}

// named returns the arguments of one parameter, in their order.
func named(line []argument, name string) []argument {
	var list []argument
	for _, a := range line {
		if a.name == name {
			list = append(list, a)
		}
	}
	return list
}

// last returns the value of the last word of a parameter: most parameters are a
// variable that each word sets anew.
func last(line []argument, name string) (value string, found bool) {
	all := named(line, name)
	if len(all) == 0 {
		return "", false
	}
	return all[len(all)-1].value, true
}
