// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/taskiso/taskiso/internal/flags"
)

// foreign are words of Go and of its libraries, which tell a user nothing.
var foreign = []string{
	"strconv", " json:", "(json:", "cobra", "pflag", "unmarshal", "invalid syntax", "parse error on line", "bare \"", "Go struct", "interface {",
	"%!", "goroutine", "panic", "arg(s)", "looking for beginning of value", "main.", " toml:", "invalid character", "unexpected end of JSON",
	"detect support", "apply token", "load program:", "load BTF", "map create", "FUNC_PROTO", "readlinkat",
}

// checkError makes sure that a refusal is one line in taskiso's words, with a status that is documented.
func checkError(t *testing.T, args []string, r result) {
	t.Helper()
	if !slices.Contains([]int{exitUsage, exitFailed, exitNotExecutable, exitNotFound}, r.code) {
		t.Errorf("%q: exit status %d; %s", args, r.code, r.stderr)
	}
	if !strings.HasPrefix(r.stderr, "taskiso: ") || strings.Count(r.stderr, "\n") != 1 || !strings.HasSuffix(r.stderr, "\n") {
		t.Errorf("%q: standard error is not one line beginning with taskiso: %q", args, r.stderr)
	}
	for _, word := range foreign {
		if strings.Contains(r.stderr, word) && !strings.Contains(strings.Join(args, " "), word) {
			t.Errorf("%q: %q is no word for a user: %s", args, word, r.stderr)
		}
	}
}

// What a command does to every CPU of the machine, when it starts and when it ends, is in its help: who reads only that
// may have an isolated program there.
func TestHelpStatesWhatInterruptsEveryCPU(t *testing.T) {
	for _, command := range []string{"run", "watch", "noise", "hold", "faults"} {
		code, out, errs := partitionProgram(t, command, "--help")
		long, _, _ := strings.Cut(out, "Usage:")
		if text := strings.Join(strings.Fields(long), " "); code != 0 || errs != "" || !strings.Contains(text, "interrupts every CPU") && !strings.Contains(text, "interrupt every CPU") {
			t.Errorf("%s --help, exit status %d: %s%s", command, code, long, errs)
		}
	}
}

// badValues are wrong for most flags, and harmless for those that they are right for.
var badValues = []string{"", "x", "x y", "-1", "0x10", "99999999999999999999", "1e400", "1.5.5", "a\nb", `a"b`, "µ", "/no/such/file", "=", ","}

// typed are the kinds of flags that no such value is right for, with those that are right all the same.
var typed = map[string][]string{
	"int": {"-1"}, "uint64": nil, "duration": nil, "size": nil, "priority": nil,
	"bool": nil,
}

// ends are arguments with which a command that was given a value it takes ends by itself, soon, and changes nothing.
var ends = map[string][]string{
	"taskiso run": {"--", "/no/such/program"}, "taskiso watch": {"-p", "999999999"}, "taskiso noise": {"-c", "9999"},
	"taskiso faults": {"-p", "999999999"}, "taskiso hold": {"-c", "9999"}, "taskiso partition create": {"-c", "9999"},
	"taskiso partition verify": {"no-such"}, "taskiso partition undo": {"no-such"}, "taskiso partition show": {"no-such"},
	"taskiso hold release": {"1"}, "taskiso hold window": {"auto"}, "taskiso partition recover": nil,
}

// Every flag of every command, with values that are wrong: one line, in taskiso's words, and a documented status. Run
// without privileges, by which nothing can be changed.
func TestEveryFlagWithBadValues(t *testing.T) {
	h, as := host{program: buildProgram(t)}.unprivileged(t)
	if as == nil {
		as = &syscall.Credential{Uid: uint32(os.Getuid()), Gid: uint32(os.Getgid())}
	}
	commands(new(program).rootCommand(), func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			for _, value := range badValues {
				args := append(strings.Fields(c.CommandPath())[1:], "--"+f.Name+"="+value)
				args = append(args, ends[c.CommandPath()]...)
				r := h.runAs(t, as, args...)
				right, isTyped := typed[f.Value.Type()]
				if _, optional := f.Value.(*flags.OptionalFile); optional {
					isTyped = false
				}
				switch {
				case value == "" && r.code != exitUsage && !slices.Contains(ends[c.CommandPath()], "-"+f.Shorthand):
					t.Errorf("%q: exit status %d, want %d; %s", args, r.code, exitUsage, r.stderr)
				case isTyped && !slices.Contains(right, value) && r.code != exitUsage:
					t.Errorf("%q: exit status %d, want %d; %s", args, r.code, exitUsage, r.stderr)
				case r.code != 0 && r.code != exitMissing:
					checkError(t, args, r)
				}
			}
			if f.NoOptDefVal == "" { // without its value
				args := append(strings.Fields(c.CommandPath())[1:], "--"+f.Name)
				checkError(t, args, h.runAs(t, as, args...))
			}
		})
		for _, args := range [][]string{{"--no-such-option"}, {"-Z"}, {"--=x"}} {
			args = append(strings.Fields(c.CommandPath())[1:], args...)
			r := h.runAs(t, as, args...)
			if checkError(t, args, r); r.code != exitUsage {
				t.Errorf("%q: exit status %d, want %d", args, r.code, exitUsage)
			}
		}
	})
}

// Every whole number of a command line is decimal: 010 is ten, and never eight.
func TestWholeNumbersAreDecimal(t *testing.T) {
	n := 0
	commands(new(program).rootCommand(), func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if !strings.Contains(f.Value.Type(), "int") {
				return
			}
			n++
			if err := f.Value.Set("010"); err != nil || f.Value.String() != "10" {
				t.Errorf("%s --%s=010: %s, %v", c.CommandPath(), f.Name, f.Value, err)
			}
			for _, text := range []string{"0x10", "0b11", "0o7", "1_000"} {
				if err := f.Value.Set(text); err == nil {
					t.Errorf("%s --%s=%s: %s", c.CommandPath(), f.Name, text, f.Value)
				}
			}
		})
	})
	if n < 8 {
		t.Errorf("only %d flags are whole numbers", n)
	}
}

// Without /proc the kernel's answers come through several layers of a library; a user sees what was tried, and the file.
func TestWithoutProcfs(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root for a mount of its own")
	}
	program := buildProgram(t)
	for _, args := range [][]string{
		{"run", "-d", "1s"}, {"run", "--", "true"}, {"watch", "-c", "0", "-d", "1s"}, {"noise", "-d", "1s"}, {"faults", "--", "true"},
		{"doctor"}, {"doctor", "-c", "0"}, {"entries"}, {"hold", "-c", "0"}, {"hold", "operations"}, {"partition", "plan", "-c", "0"},
	} {
		c := exec.Command("sh", append([]string{"-c", `mount -t tmpfs none /proc && exec "$@"`, "sh", program}, args...)...)
		c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS} // with which package os/exec makes all mounts private
		out, _ := c.CombinedOutput()
		if len(out) == 0 {
			t.Errorf("%q: printed nothing", args)
		}
		for _, word := range foreign {
			if strings.Contains(string(out), word) {
				t.Errorf("%q: %q is no word for a user: %s", args, word, out)
			}
		}
		for line := range strings.Lines(string(out)) {
			if strings.Count(line, ": ") > 4 {
				t.Errorf("%q: a chain of errors: %s", args, line)
			}
		}
	}
}

// commands calls do with c and every command below it.
func commands(c *cobra.Command, do func(*cobra.Command)) {
	do(c)
	for _, sub := range c.Commands() {
		commands(sub, do)
	}
}

// Arguments that are too many, too few or unknown, and files that are not what they are taken for.
func TestBadArguments(t *testing.T) {
	h, as := host{program: buildProgram(t)}.unprivileged(t)
	dir, err := os.MkdirTemp("", "taskiso-test-*") // in a directory that everybody may search
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	text, binary, list := file("text.json", "hello\n"), file("binary.json", "\x7fELF\x00\xff"), file("list.json", "[1]\n")
	cut, number := file("cut.json", `{"schema": 1, "taskiso": "v1", "cpus": [`), file("number.json", `{"schema": 1, "taskiso": "v1", "cpus": [{"cpu": "one"}]}`)
	bad, key, kind := file("bad.toml", "cpus = = 1\n"), file("key.toml", "no_such = 1\n"), file("kind.toml", "cpus = 3\nskip = 1\n")
	for _, tc := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"rnu"}, 2, "did you mean run?"},
		{[]string{"partition", "verfy"}, 2, "did you mean verify?"},
		{[]string{"hold", "opertions"}, 2, "did you mean operations?"},
		{[]string{"help", "nosuch"}, 2, "unknown command nosuch"},
		{[]string{"run", "--"}, 2, "there is no command after --"},
		{[]string{"faults", "--"}, 2, "there is no command after --"},
		{[]string{"run", ""}, 2, "empty word"},
		{[]string{"run", "--hold", "hold.toml", "--", "true"}, 2, "write --hold=hold.toml"},
		{[]string{"run", "--partition", "spec.toml", "true"}, 2, "write --partition=spec.toml"},
		{[]string{"watch", "something"}, 2, "takes no arguments, but was given something"},
		{[]string{"noise", "a b"}, 2, `"a b"`},
		{[]string{"entries", "x"}, 2, "takes no arguments"},
		{[]string{"doctor", "x"}, 2, "takes no arguments"},
		{[]string{"hold", "release"}, 2, "an operation that waits, or all"},
		{[]string{"hold", "release", "seven"}, 2, "seven"},
		{[]string{"hold", "window", "ajar"}, 2, "open, close, auto"},
		{[]string{"partition", "show"}, 2, "the NAME of a partition"},
		{[]string{"partition", "show", "a", "b"}, 2, "the NAME of a partition"},
		{[]string{"partition", "verify", "no-such"}, 2, "no such partition"},
		{[]string{"completion", "tcsh"}, 2, "bash, fish, powershell, zsh"},
		{[]string{"explain", "a", "b"}, 2, "taskiso explain"},
		{[]string{"explain", "tikc"}, 2, "did you mean tick"},
		{[]string{"explain", dir + "/none.json"}, 2, "none.json"},
		{[]string{"explain", dir}, 125, dir},
		{[]string{"explain", text}, 125, "not a report"},
		{[]string{"explain", binary}, 125, "not a report"},
		{[]string{"explain", list}, 125, "not a report"},
		{[]string{"explain", cut}, 125, "cut off"},
		{[]string{"explain", number}, 125, "not a report"},
		{[]string{"partition", "plan", "-f", bad}, 2, "bad.toml"},
		{[]string{"partition", "plan", "-f", key}, 2, "no_such"},
		{[]string{"partition", "plan", "-f", kind}, 2, "kind.toml"},
		{[]string{"partition", "plan", "-f", binary}, 2, "binary.json"},
		{[]string{"hold", "-f", bad}, 2, "bad.toml"},
		{[]string{"hold", "-f", key}, 2, "no_such"},
		{[]string{"run", "--hold=" + bad, "true"}, 2, "bad.toml"},
		{[]string{"run", "--partition=" + dir + "/none.toml", "true"}, 2, "none.toml"},
		{[]string{"run", "--partition=" + key, "true"}, 2, "no_such"},
		{[]string{"watch", "-c", "0", "--monitor", bad}, 2, "bad.toml"},
		{[]string{"watch", "-p", "999999999"}, 2, "process 999999999"},
		{[]string{"watch", "-t", "999999999"}, 2, "thread 999999999"},
		{[]string{"watch", "-p", "-5"}, 2, "-5"},
		{[]string{"faults", "-p", "999999999"}, 2, "process 999999999"},
		{[]string{"faults", "-t", "999999999"}, 2, "thread 999999999"},
		{[]string{"run", "-c", "9999", "true"}, 2, "CPU 9999: this machine has only CPU"},
		{[]string{"partition", "plan", "-c", "9999"}, 2, "CPU 9999: this machine has only CPU"},
		{[]string{"doctor", "-c", "9999"}, 2, "CPU 9999: this machine has only CPU"},
		{[]string{"partition", "plan", "-c", "1", "--host", dir}, 125, dir},
		{[]string{"run", "--user", "no-such-user", "true"}, 2, "there is no such user"},
	} {
		r := h.runAs(t, as, tc.args...)
		if checkError(t, tc.args, r); r.code != tc.code || !strings.Contains(r.stderr, tc.says) || r.stdout != "" {
			t.Errorf("%q: exit status %d, want %d, and %q; printed %q and %q", tc.args, r.code, tc.code, tc.says, r.stdout, r.stderr)
		}
	}
}
