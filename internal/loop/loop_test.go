// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/launch"
	"github.com/taskiso/taskiso/internal/noise"
)

// The test binary is also the loop that it starts.
func TestMain(m *testing.M) {
	switch {
	case launch.IsStub():
		os.Exit(launch.Stub())
	case IsLoop():
		os.Exit(Main())
	}
	os.Exit(m.Run())
}

// here returns one CPU on which this process may run.
func here(t *testing.T) cpulist.Set {
	t.Helper()
	allowed, err := affinity.Of(0)
	if err != nil {
		t.Fatal(err)
	}
	last, _ := allowed.Last()
	one, err := cpulist.New(last)
	if err != nil {
		t.Fatal(err)
	}
	return one
}

// start starts a loop that has been released, and ends it with the test.
func start(t *testing.T, cfg Config, shared *noise.Shared) (*launch.Process, *Output) {
	t.Helper()
	process, out, err := Start(cfg, Place{Shared: shared})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		process.End()
		process.Wait()
	})
	if err := process.Release(); err != nil {
		t.Fatal(err)
	}
	return process, out
}

func TestOwnRecords(t *testing.T) {
	cpus := here(t)
	process, out := start(t, Config{CPUs: cpus, Counter: noise.CPUCounter(), Threshold: Threshold}, nil)
	if err := out.WaitSpinning(); err != nil {
		t.Fatal(err)
	}
	process.Signal(syscall.SIGTERM)
	seen, used, err := out.Seen()
	if err != nil {
		t.Fatal(err)
	}
	// Measured on a busy machine: 229 switches and 863 faults of the whole process, none of the loop's thread.
	if used.Voluntary > 5 || used.MinorFaults > 20 || used.MajorFaults != 0 || used.User < 0 {
		t.Errorf("the loop has used up %+v, and neither waits nor touches memory for the first time", used)
	}
	if first, _ := cpus.First(); len(seen) != 1 || seen[0].CPU != first || seen[0].Ran <= 0 || seen[0].Threshold != Threshold || seen[0].YieldsEvery != 0 {
		t.Errorf("got %+v, want one loop on CPU %v that ran", seen, cpus)
	}
}

func TestSharedRecords(t *testing.T) {
	shared, err := noise.NewShared(1)
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	_, out := start(t, Config{CPUs: here(t), Counter: noise.CPUCounter(), Threshold: Threshold}, shared)
	if err := out.WaitSpinning(); err != nil {
		t.Fatal(err)
	}
	record := shared.Records[0]
	record.Begin()
	eventually(t, "the loop begins", record.Began)
	record.Stop()
	eventually(t, "the loop ends", record.Done)
	if record.State().Ran <= 0 {
		t.Errorf("got %+v, want a loop that ran", record.State())
	}
}

func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !happened(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// What the loop's process cannot do is an error of its parent.
func TestErrors(t *testing.T) {
	shared, err := noise.NewShared(2)
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	_, out := start(t, Config{CPUs: here(t), Counter: noise.CPUCounter(), Threshold: Threshold}, shared)
	if err := out.WaitSpinning(); err == nil || !strings.Contains(err.Error(), "memory for 2 records") {
		t.Errorf("got error %v, want one about records that are too many", err)
	}
}

func TestOutput(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{`{"seen":[]}`, "starting the busy loop: unexpected message"},
		{`{"error":"no such CPU"}`, "starting the busy loop: no such CPU"},
		{``, "starting the busy loop: EOF"},
	} {
		if err := NewOutput(strings.NewReader(tc.text)).WaitSpinning(); err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%s: got error %v, want %s", tc.text, err, tc.want)
		}
	}
}
