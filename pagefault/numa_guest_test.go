// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// remote is a program that uses memory of another NUMA node.
const remote = "/test/remote"

// Automatic NUMA balancing takes access to pages away, to see by the faults who uses
// them. Pages are moved after one of them, or more: the kernel's accounts say how many.
func TestGuestNUMAHints(t *testing.T) {
	const path, pages = "/proc/sys/kernel/numa_balancing", 500
	switch nodes, err := os.ReadFile("/sys/devices/system/node/online"); {
	case err != nil || strings.TrimSpace(string(nodes)) != "0-1":
		t.Fatalf("NUMA nodes are %q (%v), want 0-1", nodes, err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Log("this kernel has no automatic NUMA balancing (CONFIG_NUMA_BALANCING): ", err)
		return
	}
	if off := hints(t, pages, 5); len(off) != 0 {
		t.Errorf("%d faults without balancing, first %v", len(off), &off[0])
	}
	if err := os.WriteFile(path, []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	defer os.WriteFile(path, []byte("0"), 0)
	counted := kernelCount(t, "numa_hint_faults")
	on := hints(t, pages, 60)
	counted = kernelCount(t, "numa_hint_faults") - counted
	if len(on) < pages || counted == 0 {
		t.Fatalf("%d faults, of %d hints that the kernel counted; want %d at least", len(on), counted, pages)
	}
	t.Logf("%d hinting faults in %d pages; the first: %v", len(on), pages, &on[0])
}

// hints runs the program and returns its faults in the memory of the other node.
func hints(t *testing.T, pages, seconds int) []Fault {
	t.Helper()
	c := exec.Command(remote, "0", "2", strconv.Itoa(pages), strconv.Itoa(seconds))
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	pipe, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(pipe)
	var start uint64
	if _, err := fmt.Fscanf(out, "%v\n", &start); err != nil {
		t.Fatal(err, c.Wait())
	}
	w := watchTest(t, Process(c.Process.Pid), Options{})
	if _, err := io.WriteString(in, "\n"); err != nil {
		t.Fatal(err)
	}
	faults, counts := readAll(t, w)
	var made int
	if _, err := fmt.Fscan(out, &made); err != nil {
		t.Fatal(err, c.Wait())
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	span := Range{start, start + uint64(pages*page)}
	var hinted []Fault
	for _, f := range faults {
		if !span.contains(f.Address) {
			continue
		}
		hinted = append(hinted, f)
		n := int(f.Address-start) / page
		if want := start + uint64(n*page+offsetIn(n)); f.Address != want || f.Major {
			t.Errorf("%v, want address %#x", &f, want)
		}
	}
	if len(hinted) != made || counts.Lost > 0 {
		t.Errorf("%d faults reported, the kernel accounted for %d; counts %+v", len(hinted), made, counts)
	}
	return hinted
}

// kernelCount returns a number of /proc/vmstat.
func kernelCount(t *testing.T, name string) int {
	t.Helper()
	text, err := os.ReadFile("/proc/vmstat")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no %s in /proc/vmstat", name)
	return 0
}
