// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/budget"
	"github.com/taskiso/taskiso/internal/cause"
	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/record"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/trace"
)

// flying is an analysis beside a flight recorder, which keeps snapshots of what a condition is about.
type flying struct {
	*analysis
	flight    *record.Flight
	events    int
	breaks    []report.Break
	snapshots [][]byte
}

func fly(t *testing.T, condition string) *flying {
	t.Helper()
	catalogue, err := cause.Load()
	if err != nil {
		t.Fatal(err)
	}
	trigger, err := budget.ParseTrigger(condition)
	if err != nil {
		t.Fatal(err)
	}
	f := &flying{}
	save := func(write func(io.Writer) error) (string, error) {
		var out bytes.Buffer
		err := write(&out)
		f.snapshots = append(f.snapshots, out.Bytes())
		return "file", err
	}
	sources := []trace.Source{{Name: "exit", Kind: event.UserExit}, {Name: "enter", Kind: event.UserEnter}, {Name: "migrate", Kind: event.Migrate}}
	cpus := onlyCPU(t, 2, 3)
	h := record.Header{Version: "test", CPUs: cpus, NohzFull: cpus, Sources: recordedSources(sources), Started: time.Unix(1000, 0).UTC()}
	f.flight, err = record.NewFlight(h, symbols{}, record.FlightConfig{
		Bytes: record.MinFlight, Span: 2 * time.Minute, Before: 10 * time.Second, After: 2 * time.Second,
		Save: save, Files: func() record.Files { return record.Files{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	f.analysis = newAnalysis(scene{cpus: cpus, nohzFull: cpus, sources: sources}, catalogue, symbols{}, nil)
	f.beginAt(busyBegin + time.Microsecond)
	f.flight.Begin(f.begin)
	f.collector.OnBreak = func(b report.Break) {
		f.breaks = append(f.breaks, b)
		if reason := trigger.Break(&b); reason != "" {
			f.flight.Take(record.Snapshot{Trigger: condition, Reason: reason, From: f.begin + b.At, Until: f.begin + b.At + b.Duration})
		}
	}
	return f
}

func (f *flying) take(batches []event.Batch) {
	for _, b := range batches {
		f.events += len(b.Events)
		f.flight.Batch(b)
		f.add(b)
		for f.flight.Waiting() > 2 { // time passes faster than it can be compressed
			time.Sleep(time.Millisecond)
		}
	}
}

// One rare cause comes once after a million harmless events: the only snapshot has it, its sender with its stack, and all that was in
// the ten seconds before; memory never passed the bound.
func TestOneRareCauseAfterAMillionEvents(t *testing.T) {
	f := fly(t, "count>0,cpus=2")
	b := newBusy(5, 0) // not one break of thread 8
	b.calm = true
	for f.events < 1_000_000 {
		b.goOn(10 * time.Second)
		f.take(b.batches)
		b.batches = nil
	}
	at := b.now
	b.call(2, 8)
	b.goOn(10 * time.Second)
	f.take(b.batches)
	became := f.flight.Close()
	if len(f.snapshots) != 1 || became.Failed != 0 || became.PassedOver != 0 || became.Peak > record.MinFlight {
		t.Fatalf("%d snapshots, %+v", len(f.snapshots), became)
	}
	if n := eventsOf(t, f.snapshots[0]); n > f.events/10 {
		t.Errorf("the snapshot has %d events of %d", n, f.events)
	}
	r, breaks := replay(t, f.snapshots[0])
	s := record.Selection{From: r.Part.From, Until: r.Part.Until}
	checkBreaks(t, "the snapshot", breaks, within(f.breaks, s))
	if got := f.begin + r.Part.From; r.Part.Snapshot.At != 10*time.Second || at-got > 10*time.Second || r.Duration < 12*time.Second || r.Duration > 14*time.Second {
		t.Errorf("%+v, %v before, of %v", r.Part.Snapshot, at-got, r.Duration)
	}
	for _, b := range breaks {
		if b.CPU != 2 {
			continue
		}
		if len(b.Origins) != 1 || b.Origins[0].Name != "sender" || strings.Join(b.Origins[0].Stack, " ") != "do_sync_core 0x30" {
			t.Errorf("the sender is %+v", b.Origins)
		}
		return
	}
	t.Errorf("of %d breaks none is the rare one", len(breaks))
}

// eventsOf counts the events in a recording.
func eventsOf(t *testing.T, recording []byte) (n int) {
	t.Helper()
	in, err := record.NewReader(bytes.NewReader(recording))
	if err != nil {
		t.Fatal(err)
	}
	for {
		item, err := in.Next()
		if err == io.EOF {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
		if b, ok := item.(record.Batch); ok {
			n += len(b.Events)
		}
	}
}
