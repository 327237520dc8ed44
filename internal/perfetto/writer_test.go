// SPDX-License-Identifier: Apache-2.0

package perfetto_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/perfetto"
	"github.com/taskiso/taskiso/internal/perfetto/perfettotest"
)

var update = flag.Bool("update", false, "write testdata")

// small is a trace with everything that a trace can have.
func small(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	w := perfetto.NewWriter(&out, 1000, time.Unix(5, 0))
	cpu := w.NewTrack("CPU 3", perfetto.Top, 1)
	lane, breaks := w.NewTrack("breaks", cpu, 0), w.NewCounter("count", cpu, 1, perfetto.Count)
	w.Begin(lane, 2000, &perfetto.Event{Name: "tick", Args: []perfetto.Arg{
		{Name: "cause", Value: "tick"}, {Name: "time_ns", Value: int64(-3)}, {Name: "open", Value: true}, {Name: "ip", Value: uint64(0xffffffff81000000)}}})
	w.Instant(lane, 2100, &perfetto.Event{Name: "call", Ends: []uint64{1}})
	w.End(lane, 2500)
	w.Instant(cpu, 1900, &perfetto.Event{Name: "tick", Starts: []uint64{1}})
	w.Set(breaks, 2500, 1)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A trace reads back as what was written.
func TestTrace(t *testing.T) {
	trace, err := perfettotest.Read(small(t))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(trace.Clocks); got != "map[1:5000000000 3:1000]" {
		t.Errorf("clocks are %s", got)
	}
	if len(trace.Slices) != 3 || fmt.Sprint(trace.Values) != "[{3 2500 1}]" || fmt.Sprint(trace.Path(2)) != "[CPU 3 breaks]" {
		t.Fatalf("the trace has %v, %v, %v", trace.Slices, trace.Values, trace.Tracks)
	}
	tick, call := trace.Slices[1], trace.Slices[2]
	want := "map[cause:tick ip:18446744071578845184 open:true time_ns:-3]"
	if tick.Name != "tick" || tick.Start != 2000 || tick.End != 2500 || fmt.Sprint(tick.Args) != want {
		t.Errorf("the slice is %+v", tick)
	}
	if call.Parent != tick || !call.Instant || len(trace.Flows()) > 0 || len(trace.Senders(tick)) != 1 {
		t.Errorf("the instant is %+v, flows %v", call, trace.Flows())
	}
}

// protoc reads a trace by the names that the fields have in Perfetto.
func TestTraceForProtoc(t *testing.T) {
	c := exec.Command("protoc", "--decode=perfetto.protos.Trace", "-Itestdata", "trace.proto")
	c.Stdin = bytes.NewReader(small(t))
	got, err := c.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) && os.Getenv("CI") == "" {
		t.Skip("hack/setup build installs protoc")
	}
	if err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	const golden = "testdata/small.txt"
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the trace is\n%s", got)
	}
}

// Strings are written once, unless they are too many: then all are forgotten, and nothing refers to them any more.
func TestStringsAreBounded(t *testing.T) {
	var out bytes.Buffer
	w := perfetto.NewWriter(&out, 0, time.Unix(5, 0))
	track := w.NewTrack("t", perfetto.Top, 0)
	long := string(bytes.Repeat([]byte("x"), 1<<20))
	const events = 40
	for i := range events {
		w.Instant(track, time.Duration(i), &perfetto.Event{Name: "same", Args: []perfetto.Arg{{Name: "text", Value: fmt.Sprint(long, i)}}})
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	trace, err := perfettotest.Read(out.Bytes())
	if err != nil || len(trace.Slices) != events {
		t.Fatalf("%v; the trace has %d events", err, len(trace.Slices))
	}
	for i, s := range trace.Slices {
		if s.Name != "same" || s.Args["text"] != fmt.Sprint(long, i) {
			t.Errorf("event %d is %q", i, s.Name)
		}
	}
	if n := bytes.Count(out.Bytes(), []byte("same")); n < 2 || n > 4 {
		t.Errorf("the name was written %d times", n)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space") }

func TestFullDisk(t *testing.T) {
	w := perfetto.NewWriter(full{}, 0, time.Unix(5, 0))
	track := w.NewTrack("t", perfetto.Top, 0)
	for i := range 100_000 {
		w.Instant(track, time.Duration(i), &perfetto.Event{Name: "same"})
	}
	if err := w.Close(); err == nil {
		t.Error("no error")
	}
}
