// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/taskiso/taskiso/internal/claim"
	"github.com/taskiso/taskiso/internal/vmtest"
)

// TestScripts runs testdata/script/*.txtar: usage, exit statuses and JSON of every command, as a user types them. What
// they change is in captured machines (--host); the rest only observes.
//
// Beside the commands of testscript there are
//
//	exits STATUS PROGRAM [ARG...]   runs a program, which must end with STATUS
//	valid SCHEMA [PART]             checks standard output against docs/SCHEMA.schema.json, or a part of it
//
// and the condition [traces]: kernel entries can be seen here. $CPU is the last CPU, $APP a program that computes for two
// seconds.
func TestScripts(t *testing.T) {
	last, _ := thisMachine(t).Online.Last()
	runScripts(t, "testdata/script", buildProgram(t), last, map[string]string{"APP": vmtest.Build(t, inC("app"))})
}

// Programs that scripts run in a guest: one that computes, and the loop of examples/ci without and with the change that it is
// to find.
const (
	appProgram    = "/bin/app"
	loopProgram   = "/bin/loop"
	chattyProgram = "/bin/chatty"
)

// TestGuestScripts runs what takes isolated CPUs, root and a machine that may be changed.
func TestGuestScripts(t *testing.T) {
	runScripts(t, "testdata/script/guest", guestProgram, 3, map[string]string{
		"APP": appProgram, "LOOP": loopProgram, "CHATTY": chattyProgram, "EXAMPLE": "/test/examples/ci",
	})
}

func runScripts(t *testing.T, dir, program string, cpu int, variables map[string]string) {
	t.Helper()
	testscript.RunT(oneByOne{t}, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", filepath.Dir(program)+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("CPU", strconv.Itoa(cpu))
			for name, value := range variables {
				e.Setenv(name, value)
			}
			return nil
		},
		Condition: func(name string) (bool, error) {
			if name != "traces" {
				return false, errors.New("unknown condition")
			}
			return exec.Command(program, "doctor").Run() == nil, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
			"valid": valid,
		},
	})
}

// exits runs a program. Where another run has the CPU it waits for its turn.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS PROGRAM [ARG...]")
	}
	for deadline := time.Now().Add(runLimit); ; time.Sleep(100 * time.Millisecond) {
		err := ts.Exec(args[1], args[2:]...)
		if strings.Contains(ts.ReadFile("stderr"), claim.ErrInUse.Error()) && time.Now().Before(deadline) {
			continue
		}
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			ts.Fatalf("running %q: %v", args[1:], err)
		}
		code := 0
		if exit != nil {
			code = exit.ExitCode()
		}
		if strconv.Itoa(code) != args[0] {
			ts.Fatalf("%q: exit status %d, want %s", args[1:], code, args[0])
		}
		return
	}
}

// valid checks standard output against a schema, strictly: it has no field that is not described.
func valid(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: valid SCHEMA [PART]")
	}
	part := ""
	if len(args) == 2 {
		part = "#/$defs/" + args[1]
	}
	schema, err := compileStrictly(args[0], part)
	ts.Check(err)
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(ts.ReadFile("stdout")))
	ts.Check(err)
	ts.Check(schema.Validate(v))
}

// oneByOne keeps scripts from running side by side: they observe the same CPU.
type oneByOne struct{ *testing.T }

func (t oneByOne) Parallel()     {}
func (t oneByOne) Verbose() bool { return testing.Verbose() }
func (t oneByOne) Run(name string, f func(testscript.T)) {
	t.T.Run(name, func(t *testing.T) { f(oneByOne{t}) })
}
