// SPDX-License-Identifier: Apache-2.0

// Package recording measures what it costs to keep events in a file, and to read them again: "make bench-record".
package recording

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/taskiso/taskiso/bench/load"
	"github.com/taskiso/taskiso/bench/peers"
	"github.com/taskiso/taskiso/bench/results"
	"github.com/taskiso/taskiso/internal/record"
)

const (
	observedCPU = 1
	attach      = 3 * time.Second
)

// Define adds the flags of the benchmark and returns what it does.
func Define(flags *flag.FlagSet) func() error {
	program := flags.String("taskiso", "bin/taskiso", "`PROGRAM` to measure")
	rounds := flags.Int("rounds", 3, "measure each `N` times, in turns")
	each := flags.Duration("d", 10*time.Second, "make calls for `TIME` each time")
	out := flags.String("o", "docs/bench/record.json", "write what was measured to `FILE`")
	return func() error {
		path, err := filepath.Abs(*program)
		if err != nil {
			return err
		}
		return run(path, *out, *rounds, *each)
	}
}

func run(taskiso, out string, rounds int, each time.Duration) error {
	f, err := results.Describe("make bench-record")
	if err != nil {
		return err
	}
	f.Peers, f.Missing = results.Versions("linux-perf", "trace-cmd"), make(map[string]string)
	size := results.Table{Name: "size", Columns: []string{"calls made", "calls recorded", "events in the file", "bytes an event"}}
	cost := results.Table{Name: "cost", Unit: "ns", Columns: []string{"processor time an event"}}
	again := results.Table{Name: "again", Columns: []string{"events", "seconds recorded", "processor seconds to report again", "times real time"}}
	observers := append([]peers.Observer{peers.TaskisoRecord(taskiso, observedCPU)}, peers.Recorders(observedCPU)...)
	for round := range rounds {
		for i, o := range observers {
			if f.Missing[o.Name] != "" {
				continue
			}
			m, err := measure(o, each, taskiso)
			log.Printf("round %d of %d: %s: %+v", round+1, rounds, o.Name, m)
			if err != nil {
				f.Missing[o.Name] = err.Error()
				continue
			}
			size.Add(o.Name, i == 0, float64(m.made), float64(m.Events), float64(m.all), float64(m.bytes)/float64(max(1, m.all)))
			cost.Add(o.Name, i == 0, float64(m.Time)/float64(max(1, m.all)))
			if i == 0 {
				again.Add("taskiso report", true, float64(m.all), each.Seconds(), m.again.Seconds(), each.Seconds()/m.again.Seconds())
			}
		}
	}
	f.Tables = []results.Table{size, cost, again}
	return f.Publish(os.Stdout, out)
}

// measured is what one observer did in one round.
type measured struct {
	peers.Recording
	made, all int // calls, and events in the file
	bytes     int64
	again     time.Duration // that "taskiso report" takes, of its own recording
}

func measure(o peers.Observer, each time.Duration, taskiso string) (m measured, err error) {
	dir, err := os.MkdirTemp("", "bench-record")
	if err != nil {
		return m, err
	}
	defer os.RemoveAll(dir)
	var failed error
	if m.Recording, err = o.During(dir, attach, peers.Getppid, func() { m.made, failed = load.Start(each) }); err != nil || failed != nil {
		return m, errors.Join(err, failed)
	}
	file := filepath.Join(dir, o.File)
	info, err := os.Stat(file)
	if err != nil {
		return m, err
	}
	m.bytes = info.Size()
	if o.List == nil {
		return m, m.readAgain(file, taskiso)
	}
	list := exec.Command(o.List[0], o.List[1:]...)
	list.Dir = dir
	text, err := list.Output()
	m.all = bytes.Count(text, []byte("\n"))
	return m, err
}

// readAgain counts the events of a recording, and has it reported.
func (m *measured) readAgain(file, taskiso string) error {
	c := exec.Command(taskiso, "report", file, "-o", os.DevNull)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("reporting the recording: %w: %s", err, out)
	}
	m.again = c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	r, err := record.NewReader(in)
	for err == nil {
		var item record.Item
		item, err = r.Next()
		if b, ok := item.(record.Batch); ok {
			m.all += len(b.Events)
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
