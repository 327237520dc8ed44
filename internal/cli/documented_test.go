// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Every command in a block of any page, of examples/ci or of --help is run by a script of testdata/script, or named in
// testdata/not-run.txt with the reason.
func TestDocumentedCommandsAreRun(t *testing.T) {
	run, excused := make(map[string]bool), notRun(t)
	for _, file := range glob(t, "testdata/script/*.txtar", "testdata/script/guest/*.txtar") {
		for _, line := range linesOf(t, file) {
			if _, command, found := strings.Cut(strings.TrimSpace(line), "exits "); found {
				_, command, _ = strings.Cut(command, " ") // the status
				s := shape(command)
				run[s], run[strings.TrimSuffix(s, " -d X")] = true, true // also what users end with Ctrl-C
			}
		}
	}
	used := make(map[string]bool)
	for source, commands := range documented(t) {
		for _, command := range commands {
			switch s := shape(command); {
			case run[s]:
			case excused[s] != "":
				used[s] = true
			default:
				t.Errorf("%s prints %q, which no script runs and testdata/not-run.txt has no reason for (%s)", source, command, s)
			}
		}
	}
	for s := range excused {
		if !used[s] {
			t.Errorf("testdata/not-run.txt: %q is printed nowhere, or run", s)
		}
	}
}

// documented returns the commands that users are shown, by where they are.
func documented(t *testing.T) map[string][]string {
	t.Helper()
	found := make(map[string][]string)
	for _, file := range glob(t, "../../*.md", "../../docs/*.md", "../../docs/*/*.md", "../../examples/*/README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found[file] = commandsOf(string(text))
	}
	for _, file := range glob(t, "../../examples/ci/*.yml") {
		for _, line := range linesOf(t, file) {
			found[file] = append(found[file], commandsIn(line)...)
		}
		if len(found[file]) == 0 {
			t.Errorf("%s: no command found", file)
		}
	}
	commands(new(program).rootCommand(), func(c *cobra.Command) {
		help := c.CommandPath() + " --help"
		for line := range strings.Lines(c.Example) {
			found[help] = append(found[help], commandsIn(line)...)
		}
		for line := range strings.Lines(c.Long) {
			if strings.HasPrefix(line, "  ") {
				found[help] = append(found[help], commandsIn(line)...)
			}
		}
	})
	return found
}

// commandsOf returns the commands in the code blocks of a page, fenced or indented.
func commandsOf(page string) (all []string) {
	fenced := false
	for line := range strings.Lines(page) {
		switch {
		case strings.HasPrefix(line, "```"):
			fenced = !fenced
		case fenced, strings.HasPrefix(line, "    "):
			all = append(all, commandsIn(line)...)
		}
	}
	return all
}

// starts are the words with which a command begins, after a prompt and sudo.
var starts = []string{"taskiso", "make", "go", "git", "install", "setcap", "hack/setup"}

// prompts are what can come before that: a workflow of GitHub has "run:" there, one of GitLab "-".
var prompts = []string{"$", "#", "sudo", "run:", "-"}

// commandsIn returns the commands of a line: none if it is output.
func commandsIn(line string) (all []string) {
	line, _, _ = strings.Cut(line, "  #") // a comment
	for command := range strings.SplitSeq(line, "&&") {
		words := strings.Fields(command)
		for len(words) > 0 && slices.Contains(prompts, words[0]) {
			words = words[1:]
		}
		command, _, _ = strings.Cut(strings.Join(words, " "), " | ")
		command, _, _ = strings.Cut(command, " > ")
		if len(words) > 1 && slices.Contains(starts, words[0]) && !strings.HasSuffix(words[1], ":") {
			all = append(all, command)
		}
	}
	return all
}

// shape is a command without the values that differ from machine to machine: its subcommands and options are left.
func shape(command string) string {
	command, _, dashes := strings.Cut(substitution.ReplaceAllString(command, "X"), " -- ")
	words := strings.Fields(command)
	words = slices.DeleteFunc(words, func(w string) bool { return w == "--host" || w == "machine" }) // a rehearsal
	for i, w := range words {
		switch {
		case words[0] != "taskiso", i < 2, strings.HasPrefix(w, "-"), i == 2 && (words[1] == "partition" || words[1] == "hold" || words[1] == "completion" || words[1] == "export"), i == 3 && words[2] == "window":
			words[i], _, _ = strings.Cut(w, "=")
		default:
			words[i] = "X"
		}
	}
	if dashes { // and a command of the user's
		words = append(words, "--", "X")
	}
	return strings.Join(words, " ")
}

var substitution = regexp.MustCompile(`\$\([^)]*\)`)

// notRun reads the list of commands that no script runs: each line has a command, two spaces or more, and the reason.
func notRun(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("testdata/not-run.txt")
	if err != nil {
		t.Fatal(err)
	}
	reasons := make(map[string]string)
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		command, reason, _ := strings.Cut(s.Text(), "  ")
		if reason = strings.TrimSpace(reason); reason == "" {
			t.Errorf("testdata/not-run.txt: %q has no reason", s.Text())
		}
		reasons[shape(command)] = reason
	}
	return reasons
}

func glob(t *testing.T, patterns ...string) (files []string) {
	t.Helper()
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	return files
}

// What is a command in a page, and what is not.
func TestCommandsOfAPage(t *testing.T) {
	const page = "Run `taskiso run`:\n\n    $ taskiso run -c 3 -- ./app    # why\n    taskiso: 3 s\n\n```\nsudo taskiso a && go b\n# taskiso c | less\nmade up\n```\n\ntaskiso d e\n"
	want := []string{"taskiso run -c 3 -- ./app", "taskiso a", "go b", "taskiso c"}
	if got := commandsOf(page); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := shape("taskiso hold -c 2-3 --report=x module"), "taskiso hold -c X --report X"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
