// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/taskiso/taskiso/cpulist"
)

// twoSockets is a machine of two sockets with 4 cores of 2 threads each, the
// threads of a core 8 numbers apart, where CPU 5 is offline.
func twoSockets() fstest.MapFS {
	tree := fstest.MapFS{
		"sys/devices/system/cpu/online":    {Data: []byte("0-4,6-15\n")},
		"sys/devices/system/cpu/possible":  {Data: []byte("0-31\n")},
		"sys/devices/system/cpu/isolated":  {Data: []byte("2-3,10-11\n")},
		"sys/devices/system/cpu/nohz_full": {Data: []byte("(null)\n")},
		"sys/devices/system/node/online":   {Data: []byte("0-1\n")},
		"sys/devices/system/cpu/cpu5":      {Mode: fs.ModeDir},
	}
	for cpu := range 16 {
		if cpu == 5 {
			continue
		}
		dir := fmt.Sprintf("sys/devices/system/cpu/cpu%d/", cpu)
		siblings := fmt.Sprintf("%d,%d\n", cpu%8, cpu%8+8)
		if cpu == 13 {
			siblings = "13\n" // its sibling is offline
		}
		tree[dir+"topology/core_cpus_list"] = &fstest.MapFile{Data: []byte(siblings)}
		tree[dir+fmt.Sprintf("node%d", cpu%8/4)] = &fstest.MapFile{Mode: fs.ModeDir}
	}
	return tree
}

func TestSets(t *testing.T) {
	for name, tc := range map[string]struct {
		read      func(fs.FS) (cpulist.Set, error)
		want      string
		wantSmall string
	}{
		"online":    {Online, "0-4,6-15", "0-1"},
		"possible":  {Possible, "0-31", "0-1"},
		"isolated":  {Isolated, "2-3,10-11", ""},
		"nohz_full": {NohzFull, "", "none"},
	} {
		if got, err := tc.read(twoSockets()); err != nil || got.String() != tc.want {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, tc.want)
		}
		got, err := tc.read(os.DirFS("testdata/vm-2cpu"))
		if tc.wantSmall == "none" {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: error %v, want fs.ErrNotExist", name, err)
			}
		} else if err != nil || got.String() != tc.wantSmall {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, tc.wantSmall)
		}
	}
}

func TestBadSet(t *testing.T) {
	tree := fstest.MapFS{"sys/devices/system/cpu/online": {Data: []byte("0-x\n")}}
	_, err := Online(tree)
	if !errors.Is(err, cpulist.ErrSyntax) || !strings.Contains(err.Error(), "/sys/devices/system/cpu/online") {
		t.Errorf("got %v, want the reason and the file", err)
	}
}

func TestSiblings(t *testing.T) {
	for cpu, want := range map[int]string{0: "0,8", 8: "0,8", 7: "7,15", 13: "13"} {
		if got, err := Siblings(twoSockets(), cpu); err != nil || got.String() != want {
			t.Errorf("CPU %d: got %q, %v, want %q", cpu, got, err, want)
		}
	}
	if _, err := Siblings(twoSockets(), 5); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("offline CPU: error %v, want fs.ErrNotExist", err)
	}
}

func TestNode(t *testing.T) {
	for cpu, want := range map[int]int{0: 0, 3: 0, 4: 1, 8: 0, 15: 1} {
		if got, err := Node(twoSockets(), cpu); err != nil || got != want {
			t.Errorf("CPU %d: got node %d, %v, want %d", cpu, got, err, want)
		}
	}
	if got, err := Node(os.DirFS("testdata/vm-2cpu"), 1); err != nil || got != 0 {
		t.Errorf("symbolic link: got node %d, %v, want 0", got, err)
	}
	for _, cpu := range []int{5, 99} {
		if _, err := Node(twoSockets(), cpu); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("CPU %d: error %v, want fs.ErrNotExist", cpu, err)
		}
	}
	withoutNUMA := fstest.MapFS{"sys/devices/system/cpu/cpu3/online": {Data: []byte("1\n")}}
	if got, err := Node(withoutNUMA, 3); err != nil || got != 0 {
		t.Errorf("without NUMA: got node %d, %v, want 0", got, err)
	}
}

// TestHere reads this machine and checks what must hold on any.
func TestHere(t *testing.T) {
	here := os.DirFS("/")
	online, err := Online(here)
	if err != nil {
		t.Fatal(err)
	}
	possible, err := Possible(here)
	if err != nil {
		t.Fatal(err)
	}
	if online.IsEmpty() || !online.IsSubsetOf(possible) {
		t.Errorf("online %q, possible %q", online, possible)
	}
	for cpu := range online.All() {
		siblings, err := Siblings(here, cpu)
		if err != nil || !siblings.Contains(cpu) {
			t.Errorf("CPU %d has siblings %q, %v", cpu, siblings, err)
		}
		if _, err := Node(here, cpu); err != nil {
			t.Error(err)
		}
	}
}

// TestOlderTopology: kernels before 5.3 have another file for the threads of a core,
// those before 5.16 none for clusters.
func TestOlderTopology(t *testing.T) {
	const dir = "sys/devices/system/cpu/cpu2/"
	files := fstest.MapFS{
		dir + "topology/thread_siblings_list": {Data: []byte("2,6\n")},
		dir + "cache/index0/level":            {Data: []byte("1\n")},
		dir + "cache/index0/shared_cpu_list":  {Data: []byte("2\n")},
		dir + "cache/index2/level":            {Data: []byte("2\n")},
		dir + "cache/index2/shared_cpu_list":  {Data: []byte("2-5\n")},
	}
	if got, err := Siblings(files, 2); err != nil || got.String() != "2,6" {
		t.Errorf("siblings: got %v, %v, want 2,6", got, err)
	}
	if got, err := Cluster(files, 2); err != nil || got.String() != "2-5" {
		t.Errorf("cluster: got %v, %v, want 2-5", got, err)
	}
	files[dir+"topology/core_cpus_list"] = &fstest.MapFile{Data: []byte("2\n")}
	files[dir+"topology/cluster_cpus_list"] = &fstest.MapFile{Data: []byte("2-3\n")}
	if got, err := Siblings(files, 2); err != nil || got.String() != "2" {
		t.Errorf("siblings: got %v, %v, want 2", got, err)
	}
	if got, err := Cluster(files, 2); err != nil || got.String() != "2-3" {
		t.Errorf("cluster: got %v, %v, want 2-3", got, err)
	}
	if _, err := Cluster(files, 3); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("cluster of CPU 3: %v, want fs.ErrNotExist", err)
	}
}
