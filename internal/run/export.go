// SPDX-License-Identifier: Apache-2.0

package run

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/export"
	"github.com/taskiso/taskiso/internal/interrupters"
	"github.com/taskiso/taskiso/internal/observe"
	"github.com/taskiso/taskiso/internal/output"
	"github.com/taskiso/taskiso/internal/printable"
	"github.com/taskiso/taskiso/internal/report"
)

// exporters write a recording in another format. Each returns the report, and in words what it had to leave out.
var exporters = map[string]func(in *os.File, out io.Writer) (*report.Report, string, error){
	"perfetto": exportTrace,
	"pprof":    exportProfile,
	"ndjson":   exportLines,
	"csv":      exportTable,
}

// ExportFormats returns the names of the formats.
func ExportFormats() []string { return []string{"perfetto", "pprof", "ndjson", "csv"} }

// Export writes a recording in another format to a file, which appears whole or not at all. What the recording does not show is
// printed on standard error.
func Export(console output.Console, format, name, target string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("reading a recording: %w", err)
	}
	defer f.Close()
	if isSame(f, target) {
		return fmt.Errorf("exporting %s to itself would replace it: give another name with -o", name)
	}
	out, err := display.Create(target)
	if err != nil {
		return err
	}
	defer out.Discard()
	if err := out.Restrict(); err != nil { // as the recording itself is
		return err
	}
	buffered := bufio.NewWriterSize(out, 1<<16)
	r, omitted, err := exporters[format](f, buffered)
	if err != nil {
		return fmt.Errorf("exporting %s: %w", name, err)
	}
	if err := errors.Join(buffered.Flush(), out.Publish()); err != nil {
		return err
	}
	for _, d := range r.Doubts {
		fmt.Fprintf(console.Stderr, "taskiso: %s: %s\n", name, printable.Text(d.Text))
	}
	for _, limit := range r.Limits {
		fmt.Fprintf(console.Stderr, "taskiso: %s: %s\n", name, printable.Text(limit))
	}
	if omitted != "" {
		fmt.Fprintf(console.Stderr, "taskiso: %s: not in %s: %s\n", name, target, omitted)
	}
	return nil
}

func isSame(f *os.File, name string) bool {
	one, err := f.Stat()
	other, missing := os.Stat(name)
	return err == nil && missing == nil && os.SameFile(one, other)
}

// exportTrace reads the recording twice: what removes a cause is known at its end.
func exportTrace(in *os.File, out io.Writer) (*report.Report, string, error) {
	info, err := in.Stat()
	if err != nil {
		return nil, "", err
	}
	if !info.Mode().IsRegular() {
		return nil, "", errors.New("it is read twice: copy it to a file first")
	}
	r, err := replay(io.NewSectionReader(in, 0, info.Size()), observe.Listener{})
	if err != nil {
		return nil, "", err
	}
	t := export.NewTrace(out, r)
	_, err = replay(io.NewSectionReader(in, 0, info.Size()), observe.Listener{
		Event: t.Event, Stay: t.Stay, User: t.User,
		Lost: func(l observe.Loss) { t.Lost(l.CPU, l.From, l.Until, l.Events) },
	})
	if err != nil {
		return nil, "", err
	}
	omitted, err := t.Close()
	return r, omitted, err
}

func exportProfile(in *os.File, out io.Writer) (*report.Report, string, error) {
	p := interrupters.New()
	r, err := replay(in, observe.Listener{Break: p.Add})
	if err != nil {
		return nil, "", err
	}
	return r, "", p.Write(out, r)
}

func exportLines(in *os.File, out io.Writer) (*report.Report, string, error) {
	lines := json.NewEncoder(out)
	var failed error
	r, err := replay(in, observe.Listener{Break: func(b report.Break) {
		if failed == nil {
			failed = lines.Encode(b)
		}
	}})
	return r, "", errors.Join(err, failed)
}

func exportTable(in *os.File, out io.Writer) (*report.Report, string, error) {
	t := export.NewTable(out)
	r, err := replay(in, observe.Listener{Break: t.Add})
	if err != nil {
		return nil, "", err
	}
	return r, "", t.Close()
}
