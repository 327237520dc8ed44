// SPDX-License-Identifier: Apache-2.0

package vmtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/vmtest/wire"
)

// output is what a test binary writes with -test.v=test2json; \x16 marks its own lines.
const output = "\x16=== RUN   TestGuestA\n" +
	"\x16=== RUN   TestGuestA/one\n" +
	"    a_test.go:7: wrong\n        --- want\n        +++ have\n" +
	"\x16--- FAIL: TestGuestA/one (0.05s)\n" +
	"\x16=== NAME  TestGuestA\n" +
	"\x16=== RUN   TestGuestA/two\n" +
	"    a_test.go:9: no such feature\n" +
	"\x16--- SKIP: TestGuestA/two (0.00s)\n" +
	"\x16=== NAME  TestGuestA\n" +
	"\x16--- FAIL: TestGuestA (0.10s)\n" +
	"\x16=== NAME  \n" +
	"\x16=== RUN   TestGuestB\n" +
	"\x16--- PASS: TestGuestB (0.00s)\n"

func TestDecodeOutput(t *testing.T) {
	r, err := decodeOutput(t.Context(), []byte(output+"\x16FAIL\n"))
	if err != nil {
		t.Fatal(err)
	}
	checkTree(t, r, "TestGuestA:fail( one:fail( ) two:skip( ) ) TestGuestB:pass( ) ")
	if !r.failed() {
		t.Error("the report has not failed")
	}
	one, two := r.tests[0].subs[0], r.tests[0].subs[1]
	if got := one.output.String(); got != "    a_test.go:7: wrong\n        --- want\n        +++ have\n" {
		t.Errorf("output of one is %q", got)
	}
	if got := two.output.String(); got != "    a_test.go:9: no such feature\n" {
		t.Errorf("output of two is %q", got)
	}
	if a := r.tests[0]; a.seconds != 0.1 {
		t.Errorf("%s took %v s", a.name, a.seconds)
	}
}

func TestDecodeOutputOfACrash(t *testing.T) {
	r, err := decodeOutput(t.Context(), []byte(output+"\x16=== RUN   TestGuestC\npanic: boom\n"))
	if err != nil {
		t.Fatal(err)
	}
	crashed := r.tests[2]
	// test2json itself calls a test failed that was running when its input ended.
	if crashed.name != "TestGuestC" || crashed.action == "pass" || !strings.Contains(crashed.output.String(), "boom") {
		t.Errorf("crashed test is %+v", crashed)
	}
}

func TestDecodeEventsOfAnUnfinishedTest(t *testing.T) {
	r, err := decodeEvents([]byte(`{"Action":"run","Test":"TestGuestA"}` + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	checkTree(t, r, "TestGuestA:( ) ")
	if !r.failed() {
		t.Error("a test without end has not failed")
	}
	if _, err := decodeEvents([]byte(`{"Action":`)); err == nil {
		t.Error("half an event gives no error")
	}
}

func checkTree(t *testing.T, r *report, want string) {
	t.Helper()
	if got := tree(r.tests); got != want {
		t.Errorf("tests are %s, want %s", got, want)
	}
}

func tree(tests []*guestTest) string {
	var b strings.Builder
	for _, test := range tests {
		b.WriteString(test.name + ":" + test.action + "( " + tree(test.subs) + ") ")
	}
	return b.String()
}

func TestConsistent(t *testing.T) {
	passed := &report{tests: []*guestTest{{name: "A", action: "pass"}, {name: "B", action: "skip"}}}
	failed := &report{tests: []*guestTest{{name: "A", action: "fail"}}}
	unfinished := &report{tests: []*guestTest{{name: "A"}}}
	for name, c := range map[string]struct {
		end   wire.End
		tests *report
		ok    bool
	}{
		"passed":              {wire.End{}, passed, true},
		"failed":              {wire.End{ExitCode: 1}, failed, true},
		"unfinished":          {wire.End{ExitCode: 2}, unfinished, true},
		"nothing ran":         {wire.End{}, &report{}, false},
		"failure unexplained": {wire.End{ExitCode: 1}, passed, false},
		"failure swallowed":   {wire.End{}, failed, false},
		"end swallowed":       {wire.End{}, unfinished, false},
		"killed":              {wire.End{ExitCode: -1, Signal: "SIGKILL"}, failed, false},
		"not started":         {wire.End{ExitCode: -1, Error: "no /init"}, &report{}, false},
	} {
		if err := consistent(outcome{end: c.end}, c.tests); (err == nil) != c.ok {
			t.Errorf("%s: consistent is %v", name, err)
		}
	}
}

func TestBelow(t *testing.T) {
	for _, c := range [][3]string{
		{"", "TestVM/sid-7.2", ""},
		{"TestVM", "TestVM/sid-7.2", ""},
		{"TestVM/sid", "TestVM/sid-7.2", ""},
		{"TestVM/sid/TestGuestA", "TestVM/sid-7.2", "TestGuestA"},
		{"TestVM//TestGuestA/one", "TestVM/sid-7.2", "TestGuestA/one"},
		{"TestVM/x/TestGuestA|TestOther", "TestVM/sid-7.2", ""},
		{"TestVM$/(trixie|sid)/TestGuestA$", "TestVM/sid-7.2", "TestGuestA$"},
		{"TestVM(Hold|)/sid/TestGuest(A|B)/[/|(]", "TestVM/sid-7.2", "TestGuest(A|B)/[/|(]"},
		{`TestVM/sid/a\|b`, "TestVM/sid-7.2", `a\|b`},
	} {
		if got := below(c[0], c[1]); got != c[2] {
			t.Errorf("below(%q, %q) is %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

func TestReceiveTellsATruncatedStream(t *testing.T) {
	var stream strings.Builder
	e := wire.NewEncoder(&stream)
	for _, f := range []wire.Frame{{Hello: &wire.Hello{Release: "7.2"}}, {Output: []byte("half")}} {
		if err := e.Encode(f); err != nil {
			t.Fatal(err)
		}
	}
	got, err := receive(strings.NewReader(stream.String()), func() {})
	if err == nil || got.hello.Release != "7.2" || string(got.output) != "half" {
		t.Errorf("received %+v, %v", got, err)
	}
}

// A guest that does not begin is booted once more, and only once.
func TestSilentGuestIsBootedAgain(t *testing.T) {
	stream, boots := t.TempDir()+"/stream", t.TempDir()+"/boots"
	var frames strings.Builder
	e := wire.NewEncoder(&frames)
	for _, f := range []wire.Frame{{Hello: &wire.Hello{Release: "7.2"}}, {End: &wire.End{}}} {
		if err := e.Encode(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(stream, []byte(frames.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for silent, want := range map[int]error{0: nil, 1: nil, 2: errNotUp} {
		if err := os.RemoveAll(boots); err != nil {
			t.Fatal(err)
		}
		script := fmt.Sprintf(`echo >>%[1]s; [ $(wc -l <%[1]s) -gt %d ] || exec sleep 300; cat %s`, boots, silent, stream)
		m := machine{platform: platforms()["amd64"], qemu: []string{"sh", "-c", script}, accel: accelTCG, patience: time.Second}
		got, err := Config{Timeout: time.Minute}.bootTwice(t, m)
		if !errors.Is(err, want) || (got.hello.Release == "7.2") != (want == nil) {
			t.Errorf("silent %d times: %+v, %v", silent, got, err)
		}
		if text, err := os.ReadFile(boots); err != nil || len(text) != min(silent+1, 2) {
			t.Errorf("silent %d times: %d boots (%v)", silent, len(text), err)
		}
	}
}

const replayVariable = "VMTEST_REPLAY"

// TestReplayed is run by TestReplay in another process, because it is to fail.
func TestReplayed(t *testing.T) {
	if os.Getenv(replayVariable) == "" {
		return
	}
	for _, test := range []*guestTest{
		{name: "good", action: "pass"},
		{name: "bad", action: "pass", subs: []*guestTest{{name: "sub", action: "fail"}}},
		{name: "skipped", action: "skip"},
		{name: "unfinished"},
	} {
		t.Run(test.name, test.replay)
	}
}

func TestReplay(t *testing.T) {
	for ci, skipped := range map[string]string{"": "SKIP", "true": "FAIL"} {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestReplayed$", "-test.v")
		cmd.Env = append(os.Environ(), replayVariable+"=1", "CI="+ci, "TASKISO_NO_SKIP=")
		out, err := cmd.CombinedOutput()
		if err == nil {
			t.Error("a failure in the guest is none on the host")
		}
		for _, want := range []string{
			"--- PASS: TestReplayed/good ", "--- FAIL: TestReplayed/bad ", "--- FAIL: TestReplayed/bad/sub ",
			"--- " + skipped + ": TestReplayed/skipped ", "--- FAIL: TestReplayed/unfinished ",
		} {
			if !strings.Contains(string(out), want) {
				t.Errorf("with CI=%q: no %q in\n%s", ci, want, out)
			}
		}
	}
}
