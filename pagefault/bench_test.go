// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"bytes"
	"io"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// load is a program that makes page faults and says how long one took.
type load struct {
	command *exec.Cmd
	begin   io.WriteCloser
	out     bytes.Buffer
}

const loadFaults = 200_000

func startLoad(b *testing.B, args ...string) *load {
	b.Helper()
	l := &load{command: exec.Command(args[0], append(args[1:], strconv.Itoa(loadFaults))...)}
	l.command.Stdout = &l.out
	var err error
	if l.begin, err = l.command.StdinPipe(); err != nil {
		b.Fatal(err)
	}
	if err := l.command.Start(); err != nil {
		b.Fatal(err)
	}
	return l
}

// run lets it begin and returns nanoseconds per fault.
func (l *load) run(b *testing.B) float64 {
	b.Helper()
	if _, err := l.begin.Write([]byte("\n")); err != nil {
		b.Fatal(err)
	}
	if err := l.command.Wait(); err != nil {
		b.Fatalf("%v: %v", l.command, err)
	}
	ns, err := strconv.ParseFloat(strings.TrimSpace(l.out.String()), 64)
	if err != nil {
		b.Fatal(err)
	}
	return ns
}

// BenchmarkFault measures what a page fault takes from the thread that has it,
// under each way to watch. ns/fault of "unwatched" is the fault itself. The tools
// are rivals on a small machine: their readers run on other CPUs, where there are some.
func BenchmarkFault(b *testing.B) {
	program := buildLoad(b)
	library := func(o Options) func(*testing.B) float64 {
		return func(b *testing.B) float64 { return watched(b, program, o) }
	}
	tool := func(args ...string) func(*testing.B) float64 {
		return func(b *testing.B) float64 {
			if _, err := exec.LookPath(args[0]); err != nil {
				b.Skip(err)
			}
			l := startLoad(b, append(args, program, "nothing")...)
			time.Sleep(time.Second) // until the tool is ready: the load waits for us
			return l.run(b)
		}
	}
	own := func(how string) func(*testing.B) float64 {
		return func(b *testing.B) float64 { return startLoad(b, program, how).run(b) }
	}
	null := filepath.Join(b.TempDir(), "perf.data")
	for _, way := range []struct {
		name string
		run  func(*testing.B) float64
	}{
		{"unwatched", own("nothing")},
		{"Count", func(b *testing.B) float64 { return counted(b, program) }},
		{"Watch", library(Options{})},
		{"Watch-durations", library(Options{Durations: true})},
		{"Watch-stack", library(Options{Stack: true})},
		{"Watch-major-only", library(Options{MajorOnly: true})},
		{"Watch-paused", library(Options{Paused: true})},
		{"C-record", own("record")},
		{"C-handler", own("handler")},
		{"perf-record", tool("perf", "record", "-q", "-o", null, "-e", "page-faults", "-c", "1", "--")},
		{"perf-record-d", tool("perf", "record", "-q", "-d", "-o", null, "-e", "page-faults", "-c", "1", "--")},
		{"perf-trace-F", tool("perf", "trace", "-F", "all", "--no-syscalls", "-o", null+".txt", "--")},
	} {
		b.Run(way.name, func(b *testing.B) {
			least, runs := 0.0, 0
			for b.Loop() {
				if ns := way.run(b); runs == 0 || ns < least {
					least = ns
				}
				runs++
			}
			b.ReportMetric(least, "ns/fault")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func buildLoad(b *testing.B) string {
	b.Helper()
	program := filepath.Join(b.TempDir(), "load")
	gcc := exec.Command("gcc", "-O2", "-Wno-unused-function", "-I../include", "-o", program, "testdata/load.c")
	if out, err := gcc.CombinedOutput(); err != nil {
		b.Skipf("%v: %v\n%s", gcc, err, out)
	}
	return program
}

func watched(b *testing.B, program string, o Options) float64 {
	b.Helper()
	l := startLoad(b, program, "nothing")
	w, err := Watch(Process(l.command.Process.Pid), o)
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	read := make(chan uint64)
	go func() {
		var n uint64
		for {
			if _, err := w.Read(); err != nil {
				read <- n
				return
			}
			n++
		}
	}()
	ns := l.run(b)
	n := <-read
	c, err := w.Counts()
	if err != nil {
		b.Fatal(err)
	}
	if all := !o.MajorOnly && !o.Paused; all && n+c.Lost < loadFaults {
		b.Errorf("%d reported and %d lost of %d", n, c.Lost, loadFaults)
	}
	b.ReportMetric(float64(c.Lost), "lost")
	return ns
}

func counted(b *testing.B, program string) float64 {
	b.Helper()
	l := startLoad(b, program, "nothing")
	c, err := Count(Process(l.command.Process.Pid), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	ns := l.run(b)
	if n, err := c.Counts(); err != nil || n.Total() < loadFaults {
		b.Errorf("%+v of %d, %v", n, loadFaults, err)
	}
	return ns
}

// BenchmarkPause measures a pause and what ends it, of one thread.
func BenchmarkPause(b *testing.B) {
	onThread(b)
	w := watchTest(b, Thread(0), Options{})
	g := w.open.groups[0].events[0]
	for b.Loop() {
		if err := g.disableGroup(); err != nil {
			b.Fatal(err)
		}
		if err := g.enableGroup(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNotifierArm measures saying that no faults are expected, and taking it back.
func BenchmarkNotifierArm(b *testing.B) {
	onThread(b)
	n, err := NotifyOn(0, unix.SIGURG, NotifyOptions{}) // which Go programs do not mind
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	for b.Loop() {
		if err := n.ExpectNone(); err != nil {
			b.Fatal(err)
		}
		if err := n.ExpectSome(); err != nil {
			b.Fatal(err)
		}
	}
}
