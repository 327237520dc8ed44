// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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

// way is a way to watch a program, and what it took from it in each run.
type way struct {
	name string
	run  func() (nanoseconds float64)
	took []float64 // per fault
}

// BenchmarkFault measures what a page fault takes from the thread that has it,
// under each way to watch. All take turns, so that what else the machine does meets
// all of them. -benchtime 15x is 15 turns; -artifacts keeps all results.
func BenchmarkFault(b *testing.B) {
	ways := waysToWatch(b)
	for b.Loop() {
		for i := range ways {
			ways[i].took = append(ways[i].took, ways[i].run())
		}
	}
	b.ReportMetric(0, "ns/op")
	fmt.Printf("\n%d faults in each of %d runs\n%s", loadFaults, len(ways[0].took), table(ways)) // longer than what Log prints
	if err := os.WriteFile(filepath.Join(b.ArtifactDir(), "ns-per-fault.tsv"), results(ways), 0o600); err != nil {
		b.Fatal(err)
	}
}

func waysToWatch(b *testing.B) []way {
	b.Helper()
	program, dir := build(b, "load"), b.TempDir()
	process := func(pid int) Target { return Process(pid) }
	thread := func(pid int) Target { return Thread(pid) }
	watch := func(target func(int) Target, o Options) func() float64 {
		return func() float64 { return watched(b, program, target, o) }
	}
	own := func(how string) func() float64 {
		return func() float64 { return startLoad(b, program, how).run(b) }
	}
	besides := func() float64 {
		w, err := Watch(Process(0), Options{})
		if err != nil {
			b.Fatal(err)
		}
		defer w.Close()
		return startLoad(b, program, "nothing").run(b)
	}
	ways := []way{
		{name: "unwatched", run: own("nothing")},
		{name: "unwatched, while another program is watched", run: besides},
		{name: "Count", run: func() float64 { return counted(b, program) }},
		{name: "Watch, paused", run: watch(process, Options{Paused: true})},
		{name: "Watch, one thread", run: watch(thread, Options{})},
		{name: "Watch, process", run: watch(process, Options{})},
		{name: "Watch, ThreadStacks", run: watch(process, Options{ThreadStacks: true})},
		{name: "Watch, Durations", run: watch(process, Options{Durations: true})},
		{name: "Watch, Stack", run: watch(process, Options{Stack: true})},
		{name: "C, taskiso_pagefault_record", run: own("record")},
		{name: "C, taskiso_pagefault_watch", run: own("handler")},
	}
	if _, err := exec.LookPath("perf"); err != nil {
		b.Log("without the tools to compare with: ", err)
		return ways
	}
	tool := func(args ...string) func() float64 {
		return func() float64 {
			l := startLoad(b, append(append([]string{"perf"}, args...), "--", program, "nothing")...)
			time.Sleep(time.Second) // until the tool is ready: the load waits for us
			return l.run(b)
		}
	}
	data, text := filepath.Join(dir, "perf.data"), filepath.Join(dir, "perf.txt")
	return append(ways,
		way{name: reference, run: tool("record", "-q", "-o", data, "-e", "page-faults", "-c", "1")},
		way{name: "perf record -d", run: tool("record", "-q", "-d", "-o", data, "-e", "page-faults", "-c", "1")},
		way{name: "perf stat", run: tool("stat", "-o", text, "-e", "page-faults:u")},
		way{name: "perf trace -F", run: tool("trace", "-F", "all", "--no-syscalls", "-o", text)})
}

// reference is the way that the others are compared with.
const reference = "perf record"

// table says first how what a way costs compares with [reference].
func table(ways []way) string {
	var out strings.Builder
	without := median(ways[0].took)
	unit := 0.0 // unknown
	for _, w := range ways {
		if w.name == reference {
			unit = median(w.took) - without
		}
	}
	fmt.Fprintf(&out, "%8s %8s %8s  %s\n", "ratio", "ns more", "ns", "quartiles and way")
	for _, w := range ways {
		m := median(w.took)
		fmt.Fprintf(&out, "%8.2f %8.0f %8.0f  %.0f-%.0f  %s\n", (m-without)/unit, m-without, m, quantile(w.took, 0.25), quantile(w.took, 0.75), w.name)
	}
	return out.String()
}

func median(values []float64) float64 { return quantile(values, 0.5) }

func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}

// results returns a line for each turn.
func results(ways []way) []byte {
	var out bytes.Buffer
	for i := range ways {
		fmt.Fprintf(&out, "%s\t", ways[i].name)
	}
	for turn := range ways[0].took {
		fmt.Fprintln(&out)
		for i := range ways {
			fmt.Fprintf(&out, "%.1f\t", ways[i].took[turn])
		}
	}
	return append(out.Bytes(), '\n')
}

// BenchmarkFields measures what the kernel takes for each field of a sample, without
// a reader. -benchtime 400x is 400 turns.
func BenchmarkFields(b *testing.B) {
	out, err := exec.Command(build(b, "fields"), strconv.Itoa(b.N)).CombinedOutput()
	if err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	b.ReportMetric(0, "ns/op")
	fmt.Printf("\n%s", out)
}

func build(b *testing.B, name string) string {
	b.Helper()
	program := filepath.Join(b.TempDir(), name)
	gcc := exec.Command("gcc", "-O2", "-Wno-unused-function", "-I../include", "-o", program, "testdata/"+name+".c")
	if out, err := gcc.CombinedOutput(); err != nil {
		b.Skipf("%v: %v\n%s", gcc, err, out)
	}
	return program
}

func watched(b *testing.B, program string, target func(pid int) Target, o Options) float64 {
	b.Helper()
	l := startLoad(b, program, "nothing")
	w, err := Watch(target(l.command.Process.Pid), o)
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
	if !o.Paused && n+c.Lost < loadFaults {
		b.Errorf("%d reported and %d lost of %d", n, c.Lost, loadFaults)
	}
	if c.Lost > 0 {
		b.Logf("%+v: %d lost", o, c.Lost)
	}
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
