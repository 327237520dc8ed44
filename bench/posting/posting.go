// SPDX-License-Identifier: Apache-2.0

// Package posting measures package deferral beside what else reaches a busy thread: "make
// bench-deferral". It needs gcc and liburcu-dev, and two CPUs that are otherwise idle.
package posting

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/taskiso/taskiso/bench/results"
	"github.com/taskiso/taskiso/deferral"
)

// Define adds the flags of the benchmark and returns what it does.
func Define(flags *flag.FlagSet) func() error {
	root := flags.String("root", ".", "root of the repository")
	poster := flags.Int("poster", 0, "CPU of posters")
	owner := flags.Int("owner", 1, "CPU of the owner")
	// Passes repeat everything, so that other work on the machine does not meet one side
	// of a comparison only.
	passes := flags.Int("rounds", 5, "measure all `N` times")
	out := flags.String("o", "docs/bench/deferral.json", "write what was measured to `FILE`")
	return func() error { return run(*root, *poster, *owner, *passes, *out) }
}

func run(root string, poster, owner, passes int, out string) error {
	dir, err := os.MkdirTemp("", "bench-deferral")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := compile(root, dir)
	if err != nil {
		return err
	}
	f, err := results.Describe("make bench-deferral")
	if err != nil {
		return err
	}
	f.Peers = results.Versions("liburcu-dev")
	operations := results.Table{Name: "operations", Unit: "ns", Columns: []string{"one"}}
	scale := results.Table{Name: "scale", Unit: "ns", Base: "liburcu-qsbr"}
	for _, slots := range scales {
		scale.Columns = append(scale.Columns, fmt.Sprintf("%d slots", slots))
	}
	interrupts := results.Table{Name: "interrupts", Columns: []string{"interrupts"}}
	for pass := range passes {
		log.Printf("pass %d of %d", pass+1, passes)
		r := numbers{}
		if err := errors.Join(r.measureC(binary, poster, owner), r.measureGo(binary, poster, owner)); err != nil {
			return err
		}
		scale.Add("deferral", true, r.take("c-scale-tiso-")...)
		scale.Add("liburcu-qsbr", false, r.take("c-scale-urcu-")...)
		interrupts.Add("post, waited for until seen", true, r["c-interruptions-post"])
		interrupts.Add("membarrier PRIVATE_EXPEDITED", false, r["c-interruptions-membarrier"])
		for _, name := range slices.Sorted(maps.Keys(r)) {
			if !strings.Contains(name, "-scale-") && !strings.Contains(name, "-interruptions-") {
				operations.Add(name, false, r[name])
			}
		}
	}
	f.Tables = []results.Table{operations, scale, interrupts}
	return f.Publish(os.Stdout, out)
}

// median takes two numbers from where their ratio is the median one.
func (r numbers) median(from []numbers, ours, theirs string) {
	from = slices.Clone(from)
	slices.SortFunc(from, func(a, b numbers) int { return cmp.Compare(a[ours]/a[theirs], b[ours]/b[theirs]) })
	middle := from[len(from)/2]
	r[ours], r[theirs] = middle[ours], middle[theirs]
}

// take returns the values for all scales.
func (r numbers) take(prefix string) []float64 {
	var values []float64
	for _, slots := range scales {
		values = append(values, r[fmt.Sprint(prefix, slots)])
	}
	return values
}

// numbers is nanoseconds by name; C and Go names do not overlap.
type numbers map[string]float64

// compile returns the program of the C half. Its loops are aligned, because how
// fast a loop polls a line decides how often it takes the line from the other
// side: unaligned, the bare ping-pong took 66 to 90 ns, aligned 86 to 108.
func compile(root, dir string) (string, error) {
	binary := filepath.Join(dir, "bench")
	source := filepath.Join(root, "bench/posting/c/bench.c")
	build := exec.Command("gcc", "-std=gnu11", "-O2", "-falign-functions=64", "-falign-loops=64", "-pthread", "-I"+filepath.Join(root, "include"), "-o", binary, source, "-lurcu-qsbr")
	if text, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("compiling %s (needs liburcu-dev): %w\n%s", source, err, text)
	}
	return binary, nil
}

func (r numbers) measureC(binary string, poster, owner int) error {
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

func (r numbers) runC(binary string, slots, poster, owner int, what string) error {
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

func (r numbers) read(prefix, text string) error {
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
