// SPDX-License-Identifier: Apache-2.0

// Bench measures package deferral beside what else reaches a busy thread, in
// one run on one machine, and prints docs/benchmarks-deferral.md. It needs gcc
// and liburcu-dev, and two CPUs that are otherwise idle.
package main

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/taskiso/taskiso/deferral"
)

func main() {
	root := flag.String("root", ".", "root of the repository")
	poster := flag.Int("poster", 0, "CPU of posters")
	owner := flag.Int("owner", 1, "CPU of the owner")
	out := flag.String("o", "", "file to write, instead of standard output")
	flag.Parse()
	if err := run(*root, *poster, *owner, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(root string, poster, owner int, out string) error {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := compile(root, dir)
	if err != nil {
		return err
	}
	r := results{}
	var all []results
	for range passes {
		pass := results{}
		if err := pass.measureC(binary, poster, owner); err != nil {
			return err
		}
		if err := pass.measureGo(binary, poster, owner); err != nil {
			return err
		}
		r.least(pass)
		all = append(all, pass)
	}
	r.median(all, "c-post-seen", "c-ping-pong")
	r.median(all, "c-synchronize", "c-urcu-synchronize")
	r.median(all, "go-synchronize", "c-urcu-beside-go")
	r.median(all, "go-post-seen", "go-ping-pong")
	var page bytes.Buffer
	r.write(&page)
	if out == "" {
		_, err := io.Copy(os.Stdout, &page)
		return err
	}
	page.Write(byHand(out))
	return os.WriteFile(out, page.Bytes(), 0o644)
}

// byHand returns the end of the page, which other tests gave the figures for.
func byHand(file string) []byte {
	const heading = "\n## With the tracer\n"
	old, _ := os.ReadFile(file) // there may be none yet
	if i := bytes.Index(old, []byte(heading)); i >= 0 {
		return old[i:]
	}
	return nil
}

// passes repeat everything, so that other work on the machine does not meet one
// side of a comparison only.
const passes = 5

// least keeps the least of each number; of what membarrier does, the most,
// because it interrupts only while the sibling is running.
func (r results) least(pass results) {
	for name, value := range pass {
		old, ok := r[name]
		switch {
		case !ok:
			r[name] = value
		case name == "c-interruptions-membarrier":
			r[name] = max(old, value)
		default:
			r[name] = min(old, value)
		}
	}
}

// median takes two numbers from where their ratio is the median one.
func (r results) median(from []results, ours, theirs string) {
	from = slices.Clone(from)
	slices.SortFunc(from, func(a, b results) int { return cmp.Compare(a[ours]/a[theirs], b[ours]/b[theirs]) })
	middle := from[len(from)/2]
	r[ours], r[theirs] = middle[ours], middle[theirs]
}

// results are nanoseconds by name; C and Go names do not overlap.
type results map[string]float64

// compile returns the program of the C half. Its loops are aligned, because how
// fast a loop polls a line decides how often it takes the line from the other
// side: unaligned, the bare ping-pong took 66 to 90 ns, aligned 86 to 108.
func compile(root, dir string) (string, error) {
	binary := filepath.Join(dir, "bench")
	source := filepath.Join(root, "deferral/internal/bench/c/bench.c")
	build := exec.Command("gcc", "-std=gnu11", "-O2", "-falign-functions=64", "-falign-loops=64", "-pthread", "-I"+filepath.Join(root, "include"), "-o", binary, source, "-lurcu-qsbr")
	if text, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("compiling %s (needs liburcu-dev): %w\n%s", source, err, text)
	}
	return binary, nil
}

func (r results) measureC(binary string, poster, owner int) error {
	if err := r.runC(binary, 2, poster, owner, "all"); err != nil {
		return err
	}
	for _, slots := range scales {
		if err := r.runC(binary, slots, poster, owner, "scale"); err != nil {
			return err
		}
	}
	return nil
}

var scales = []int{1, 2, 4, 8, 16, 32, 64}

func (r results) runC(binary string, slots, poster, owner int, what string) error {
	d, err := deferral.Create(deferral.Options{Slots: slots, Shared: true})
	if err != nil {
		return err
	}
	defer d.Close()
	f, err := d.File()
	if err != nil {
		return err
	}
	defer f.Close()
	cmd := exec.Command(binary, fmt.Sprint(poster), fmt.Sprint(owner), what)
	cmd.ExtraFiles = []*os.File{f}
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("running the C benchmarks: %w", err)
	}
	return r.read("c-", string(text))
}

func (r results) read(prefix, text string) error {
	for line := range strings.Lines(text) {
		var name string
		var value, of float64
		switch n, _ := fmt.Sscan(line, &name, &value, &of); n {
		case 3:
			value /= of
		case 2:
		default:
			return errors.New("reading a benchmark line: " + line)
		}
		r[prefix+name] = value
	}
	return nil
}
