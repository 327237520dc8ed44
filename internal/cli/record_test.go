// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// checkRecording checks that a recording gives the report in a file again, byte for byte.
func checkRecording(t *testing.T, program, recording, file string) {
	t.Helper()
	again := filepath.Join(t.TempDir(), "again.json")
	if out, err := exec.Command(program, "report", recording, "--report", again, "-o", os.DevNull).CombinedOutput(); err != nil {
		t.Errorf("reporting the recording: %v: %s", err, out)
		return
	}
	got, err := os.ReadFile(again)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the recording gives another report than the run: %s", firstDifference(string(got), string(want)))
	}
}

// firstDifference returns some lines of two texts from the first one that differs.
func firstDifference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	const context = 8
	return fmt.Sprintf("line %d\n%s\nwant\n%s", i+1, strings.Join(a[max(0, i-context):min(len(a), i+context)], "\n"), strings.Join(b[max(0, i-context):min(len(b), i+context)], "\n"))
}

// A recorder that is killed at any moment leaves a recording up to its last whole chunk, about which everything is in doubt.
func TestRecordingOfAKilledRun(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("tracing needs root")
	}
	program, self := buildProgram(t), testBinary(t)
	recording := filepath.Join(t.TempDir(), "killed.rec")
	for range 5 {
		untilFree(func() string {
			os.Remove(recording)
			return killRecorder(t, program, self, recording)
		})
		out, err := exec.Command(program, "report", "--full", recording).CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("the recording has no end")) || !callsSeen.Match(out) {
			t.Errorf("%v: %s", err, out)
		}
	}
}

var callsSeen = regexp.MustCompile(`[1-9][0-9,]* .*system call: getppid`)

// killRecorder kills a run, with its program, at any moment after it has recorded something, and returns what it printed.
func killRecorder(t *testing.T, program, self, recording string) string {
	t.Helper()
	var stderr bytes.Buffer
	c := exec.Command(program, "run", "-q", "--record", recording, "--", self)
	c.Env = append(os.Environ(), loadVariable+"=60x100000")
	c.Stderr = &stderr
	c.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	for {
		select {
		case err := <-ended:
			t.Logf("it ended by itself: %v, %s", err, &stderr)
			return stderr.String()
		case <-time.After(time.Duration(10+rand.IntN(100)) * time.Millisecond):
		}
		if info, err := os.Stat(recording); err != nil || info.Size() < recordedBytes {
			continue
		}
		if err := unix.Kill(-c.Process.Pid, unix.SIGKILL); err != nil {
			t.Error(err)
		}
		<-ended
		return stderr.String()
	}
}

// recordedBytes is more than the header of a recording.
const recordedBytes = 30_000
