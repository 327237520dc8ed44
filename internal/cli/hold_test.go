// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskiso/taskiso/internal/feature"
)

func TestHoldRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hold.toml")
	if err := os.WriteFile(file, []byte("polcy = \"hold\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args string
		want string
	}{
		{"", "name the CPUs"},
		{"-c 4096", "this machine has only CPU"},
		{"-c 1 --policy never", `unknown policy "never": want one of hold, deny, report`},
		{"-c 1 --max-wait 0", "max-wait"},
		{"-c 1 --max-wait -1s", "max-wait"},
		{"-c 1 --window 9", `"9" is not a range of hours`},
		{"-c 1 --window 09:00-10:00 --during 11:00-12:00", "exclude each other"},
		{"-c 1 --allow comm", `rule "comm"`},
		{"-c 1 --deny everything", `unknown operation "everything": want one of bpf`},
		{"-c 1 --deny bpf --report bpf", "in two lists"},
		{"-c 1 -f /nonexistent", "no such file"},
		{"-c 1 -f " + file, `hold.toml:1:1: unknown key "polcy"`},
		{"release x", `"x" is not an operation ID`},
		{"release", "takes the ID of an operation"},
		{"window ajar", "takes one of open, close, auto"},
		{"status more", "takes no arguments"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			code, out, stderr := partitionProgram(t, append([]string{"hold"}, strings.Fields(tc.args)...)...)
			if code != exitUsage || out != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, tc.want) {
				t.Errorf("status %d, %q, %q; want status %d and one line with %q", code, out, stderr, exitUsage, tc.want)
			}
		})
	}
}

// What can be held can be asked for without privileges, and without holding anything.
func TestHoldOperations(t *testing.T) {
	code, out, stderr := partitionProgram(t, "hold", "operations", "--json")
	var all struct {
		Schema     int
		Operations []struct{ Name, What, Spares, Missing, Unknown string }
		NotGuarded [][2]string `json:"not_guarded"`
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != 0 {
		t.Fatalf("status %d, %v, %s", code, err, stderr)
	}
	if all.Schema != 2 || len(all.Operations) < 17 || len(all.NotGuarded) == 0 {
		t.Errorf("%+v", all)
	}
	tried := feature.SecurityHook("bpf")
	for _, o := range all.Operations {
		if o.Name == "bpf" && (o.Missing == "" && o.Unknown == "") != (tried == nil) {
			t.Errorf("the kernel's answer to a program at the hook is %v, and of the operation is said %+v", tried, o)
		}
	}
}

// Who is root and is refused reads that the kernel refuses, not to become root.
func TestHoldSaysWhoRefuses(t *testing.T) {
	if os.Geteuid() != 0 || !errors.Is(feature.SecurityHook("bpf"), feature.ErrNotSupported) {
		t.Skip("takes root, and a kernel that refuses trampolines")
	}
	code, _, stderr := partitionProgram(t, "hold", "-c", "1", "--policy", "report", "-d", "1s")
	if code != exitFailed || !strings.Contains(stderr, "this kernel refuses") || strings.Contains(stderr, "root") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("status %d, %q; want status %d and one line that names the kernel", code, stderr, exitFailed)
	}
}
