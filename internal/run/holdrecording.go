// SPDX-License-Identifier: Apache-2.0

package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/taskiso/taskiso/internal/clock"
	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/hold/operation"
	"github.com/taskiso/taskiso/internal/output"
	"github.com/taskiso/taskiso/internal/printable"
	"github.com/taskiso/taskiso/internal/record"
)

// holdTape records what a hold records. Its methods are safe for concurrent use.
type holdTape struct {
	mu   sync.Mutex
	file *record.File
	out  *record.Writer
	stop chan struct{}
	done bool // the recording has its end
}

// flushing is how often a holdTape lets the writer see that time has passed.
const flushing = time.Second

// recordHolds begins a recording.
func recordHolds(name, version string) (*holdTape, error) {
	file, err := record.Create(name)
	if err != nil {
		return nil, err
	}
	t := &holdTape{file: file, stop: make(chan struct{})}
	h := record.Header{Version: version, Arch: runtime.GOARCH, Started: time.Now(), Hold: true}
	if err = file.Begin(); err == nil {
		t.out, err = record.NewWriter(file, h, nil)
	}
	if err != nil {
		file.Discard()
		return nil, err
	}
	go t.flush()
	return t, nil
}

func (t *holdTape) flush() {
	tick := time.NewTicker(flushing)
	defer tick.Stop()
	for {
		select {
		case <-t.stop:
			return
		case <-tick.C:
			t.mu.Lock()
			if !t.done {
				t.out.Batch(event.Batch{Until: clock.Now()})
			}
			t.mu.Unlock()
		}
	}
}

// add records an operation. It never waits for the disk.
func (t *holdTape) add(r operation.Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out.Held(r)
	t.out.Batch(event.Batch{Until: clock.Now()})
}

// close ends the recording, with what the hold could not do.
func (t *holdTape) close(limits []string) error {
	close(t.stop)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done = true
	return errors.Join(t.out.Close(&record.End{HoldLimits: limits}), t.file.Close())
}

// publishHolds prints what a hold printed, from its recording.
func publishHolds(in *record.Reader, console output.Console, cfg OutputConfig, out io.Writer, stream *os.File) error {
	if cfg.Report != "" || cfg.Events != "" || cfg.Profile != "" {
		return errors.New("it is a recording of a hold, which has no report; leave out --report, --events and --pprof")
	}
	sheet, err := console.OpenSheet(cfg.Text, out, stream, true)
	if err != nil {
		return err
	}
	defer sheet.Discard()
	text := func(w io.Writer, _ bool) error { return printHolds(in, w, cfg.JSON, console.Stderr) }
	return sheet.Publish(nil, text, text)
}

func printHolds(in *record.Reader, w io.Writer, asJSON bool, stderr io.Writer) error {
	print := printHold(w, asJSON)
	missing := 0
	for {
		item, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		switch item := item.(type) {
		case record.Held:
			if err := print(item.Record); err != nil {
				return fmt.Errorf("printing a recording: %w", err)
			}
		case record.Gap:
			missing++
		}
	}
	if missing > 0 {
		fmt.Fprintf(stderr, "taskiso: the recording has gaps (%d): operations of that time are not in it\n", missing)
	}
	if in.End == nil {
		fmt.Fprintln(stderr, "taskiso: the recording has no end, because taskiso was ended or still writes it: operations that came later are not in it")
		return nil
	}
	for _, limit := range in.End.HoldLimits {
		fmt.Fprintf(stderr, "taskiso: %s\n", printable.Text(limit))
	}
	return nil
}

// printHold returns a function that prints a record.
func printHold(w io.Writer, asJSON bool) func(operation.Record) error {
	enc := json.NewEncoder(w)
	return func(r operation.Record) error {
		if asJSON {
			return enc.Encode(r)
		}
		_, err := fmt.Fprintln(w, printable.Text(r.String()))
		return err
	}
}
