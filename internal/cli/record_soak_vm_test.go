// SPDX-License-Identifier: Apache-2.0

//go:build soak

package cli

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/record"
	"github.com/taskiso/taskiso/internal/vmtest"
)

// TestVMKilledRecorders records for ten minutes, and kills the recorder at a hundred moments of them.
func TestVMKilledRecorders(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		Cmdline:  vmtest.Isolated,
		Kernels:  []string{"trixie"},
		Programs: map[string]vmtest.Program{guestProgram: taskiso},
		Tests:    "^TestGuestSoakOfKilledRecorders$",
		Timeout:  2 * time.Hour,
	})
}

// recorderKills is how many recorders are killed.
const recorderKills = 100

func TestGuestSoakOfKilledRecorders(t *testing.T) {
	recording := filepath.Join(t.TempDir(), "killed.rec")
	for i := range recorderKills {
		after := time.Duration(rand.Int64N(int64(12 * time.Second)))
		killRecording(t, recording, after)
		chunks, size := wholeChunks(t, recording)
		t.Logf("kill %d after %v: %d bytes, %d items", i+1, after, size, chunks)
		out, err := exec.Command(guestProgram, "report", "--full", recording).CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("the recording has no end")) {
			t.Errorf("kill %d after %v: %v: %s", i+1, after, err, out)
		}
	}
}

// killRecording records a CPU with mixed load, and kills the recorder some time after the recording has begun.
func killRecording(t *testing.T, recording string, after time.Duration) {
	t.Helper()
	os.Remove(recording)
	var stderr bytes.Buffer
	c := exec.Command(guestProgram, "watch", "-q", "-c", "0-1", "--record", recording)
	c.Stderr = &stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Process.Kill()
	for deadline := time.Now().Add(10 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if info, err := os.Stat(recording); err == nil && info.Size() > 0 { // it has its header
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it records nothing: %s", &stderr)
		}
	}
	stop := mixedLoad() // not before: attaching beside it takes minutes under emulation on a busy host
	defer stop()
	time.Sleep(after)
	if err := c.Process.Kill(); err != nil {
		t.Error(err)
	}
	if c.Wait(); c.ProcessState.Success() {
		t.Errorf("it ended by itself: %s", &stderr)
	}
}

// mixedLoad makes system calls, starts programs and has caches dropped until it is stopped. It sleeps between: a loop in a guest must yield.
func mixedLoad() (stop func()) {
	end, calls, programs := make(chan struct{}), make(chan struct{}), make(chan struct{})
	every := func(d time.Duration, ended chan struct{}, do func()) {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			case <-time.After(d):
				do()
			}
		}
	}
	go every(2*time.Millisecond, calls, func() {
		for range 100 {
			unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
		}
	})
	go every(200*time.Millisecond, programs, func() {
		exec.Command(guestProgram, "--version").Run()
		os.WriteFile("/proc/sys/vm/drop_caches", []byte("1"), 0)
	})
	return func() {
		close(end)
		<-calls
		<-programs
	}
}

// wholeChunks reads a recording to its last whole chunk: no part of it is damaged.
func wholeChunks(t *testing.T, name string) (items int, size int64) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var info unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &info); err != nil {
		t.Fatal(err)
	}
	r, err := record.NewReader(f)
	for err == nil {
		var item record.Item
		if item, err = r.Next(); err == nil {
			items++
		}
		if gap, ok := item.(record.Gap); ok {
			t.Errorf("a gap: %+v", gap)
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	return items, info.Size
}
