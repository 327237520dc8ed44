// SPDX-License-Identifier: Apache-2.0

package cause

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/taskiso/taskiso/cpulist"
)

// Machine is where remedies are to be applied, as far as its files show it.
type Machine struct {
	files fs.FS
}

// NewMachine returns the machine with the files below the root of files.
func NewMachine(files fs.FS) *Machine { return &Machine{files} }

// answer is three-valued: what cannot be read is neither true nor false.
type answer int

const (
	no answer = iota
	unclear
	yes
)

func answerOf(b bool) answer {
	if b {
		return yes
	}
	return no
}

// check is one condition on a machine. It is written as
//
//	exists PATH             there is such a file; PATH may have wildcards
//	PATH = VALUE            it holds VALUE, or has it selected: "always [never]"
//	PATH <= N, PATH >= N    its first word is such a number
//	PATH lists CPU          it is a list of CPUs with all those in question
//	PATH masks CPU          it is a mask of CPUs with one of those in question
//	PATH shows TEXT         it has a line that is TEXT, blanks left out
//	boot WORD               a word of the kernel's command line; a WORD that ends
//	                        in "*" stands for all words that begin like it
//
// with "not" before any of them. The command line shows only what was asked for: see
// [Asked].
type check struct {
	text     string
	negated  bool
	operator string
	path     string // without the leading slash
	value    string
	number   int64
}

func parseChecks(texts []string) ([]check, error) {
	checks := make([]check, 0, len(texts))
	for _, text := range texts {
		c, err := parseCheck(text)
		if err != nil {
			return nil, fmt.Errorf("parsing condition %q: %w", text, err)
		}
		checks = append(checks, c)
	}
	return checks, nil
}

var errForm = errors.New(`want "exists PATH", "PATH = VALUE", "PATH <= N", "PATH >= N", "PATH lists CPU", "PATH masks CPU", "PATH shows TEXT" or "boot WORD"`)

func parseCheck(text string) (check, error) {
	c := check{text: text}
	words := strings.Fields(text)
	if len(words) > 0 && words[0] == "not" {
		c.negated, words = true, words[1:]
	}
	switch {
	case len(words) == 2 && (words[0] == "boot" || words[0] == "exists"):
		c.operator, c.value, c.path = words[0], words[1], words[1]
	case len(words) == 3:
		c.path, c.operator, c.value = words[0], words[1], words[2]
	default:
		return check{}, errForm
	}
	return c, c.validate()
}

func (c *check) validate() error {
	if c.operator == "boot" {
		return nil
	}
	if !strings.HasPrefix(c.path, "/") {
		return fmt.Errorf("%s is not an absolute path", c.path)
	}
	c.path = c.path[1:]
	switch c.operator {
	case "exists", "=", "shows":
		return nil
	case "lists", "masks":
		if c.value != "CPU" {
			return errForm
		}
		return nil
	case "<=", ">=":
		var err error
		c.number, err = strconv.ParseInt(c.value, 10, 64)
		return err
	}
	return errForm
}

// all returns the answer of all checks together: the least of theirs.
func all(checks []check, m *Machine, cpus cpulist.Set) answer {
	result := yes
	for _, c := range checks {
		result = min(result, c.holds(m, cpus))
	}
	return result
}

func (c check) holds(m *Machine, cpus cpulist.Set) answer {
	if c.operator == "boot" {
		return c.sense(m.bootWord(c.value))
	}
	paths, err := fs.Glob(m.files, c.path)
	found := len(paths) > 0
	switch {
	case err != nil: // a recording does not tell
		return unclear
	case c.operator == "exists":
		return c.sense(answerOf(found))
	case !found && c.negated:
		return unclear // no file shows that it is otherwise
	case !found:
		return no
	}
	result := yes // of every file, also with "not": one network queue of many proves nothing
	for _, path := range paths {
		result = min(result, c.sense(c.file(m, path, cpus)))
	}
	return result
}

// lack returns a sentence for a check that does not hold.
func (c check) lack() string {
	switch {
	case c.operator == "exists" && c.negated:
		return "there is " + c.value
	case c.operator == "exists":
		return "there is no " + c.value
	case c.operator == "boot" && c.negated:
		return "the kernel was booted with " + c.value
	case c.operator == "boot":
		return "the kernel was not booted with " + c.value
	default:
		return "it takes " + c.text
	}
}

// sense turns an answer around if the check has "not" before it.
func (c check) sense(a answer) answer {
	if c.negated {
		return yes - a
	}
	return a
}

func (m *Machine) bootWord(word string) answer {
	line, err := fs.ReadFile(m.files, "proc/cmdline")
	if err != nil {
		return unclear
	}
	words := strings.Fields(strings.ReplaceAll(string(line), `"`, "")) // quotes keep blanks together, which no word here has
	return answerOf(slices.ContainsFunc(words, func(w string) bool { return covers(parameter(word), parameter(w)) }))
}

// parameter writes a word of the command line as the kernel compares it: a dash in a
// name is an underscore (lib/cmdline.c, kernel/params.c:parameqn).
func parameter(word string) string {
	name, _, _ := strings.Cut(word, "=")
	return strings.ReplaceAll(name, "-", "_") + word[len(name):]
}

// file applies the check to one file.
func (c check) file(m *Machine, path string, cpus cpulist.Set) answer {
	content, err := fs.ReadFile(m.files, path)
	if err != nil {
		return unclear
	}
	text := strings.TrimSpace(string(content))
	switch c.operator {
	case "=":
		return answerOf(text == c.value || slices.Contains(strings.Fields(text), "["+c.value+"]"))
	case "shows":
		return answerOf(slices.ContainsFunc(strings.Split(text, "\n"), func(line string) bool {
			return strings.Join(strings.Fields(line), "") == c.value
		}))
	case "lists":
		named, err := cpulist.ParseSysfs(text)
		return among(cpulist.Set.IsSubsetOf, cpus, named, err)
	case "masks":
		named, err := cpulist.ParseMask(text)
		return among(overlaps, cpus, named, err)
	default:
		return c.compare(text)
	}
}

// among judges the CPUs in question against those that a file names.
func among(judge func(cpus, named cpulist.Set) bool, cpus, named cpulist.Set, err error) answer {
	if err != nil || cpus.IsEmpty() {
		return unclear
	}
	return answerOf(judge(cpus, named))
}

func overlaps(a, b cpulist.Set) bool { return !a.Intersect(b).IsEmpty() }

func (c check) compare(text string) answer {
	first, _, _ := strings.Cut(strings.ReplaceAll(text, "\t", " "), " ")
	n, err := strconv.ParseInt(first, 10, 64)
	switch {
	case err != nil:
		return unclear
	case c.operator == "<=":
		return answerOf(n <= c.number)
	default:
		return answerOf(n >= c.number)
	}
}
