// SPDX-License-Identifier: Apache-2.0

package place

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/claim"
	"github.com/taskiso/taskiso/internal/launch"
)

// occupy, as the first argument, makes this test binary occupy CPUs until its standard input is closed. The others are the
// CPUs, those for housekeeping, and the directory of claims.
const occupy = "occupy"

func TestMain(m *testing.M) {
	if len(os.Args) != 5 || os.Args[1] != occupy {
		os.Exit(m.Run())
	}
	if err := occupyNamed(os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Stdin.Read(make([]byte, 1))
}

// occupyNamed runs twice: it begins on all CPUs, and begins anew when it has moved off the occupied ones. What it does after
// that, it does once.
func occupyNamed(cpus, housekeeping, locks string) error {
	mine, err := cpulist.Parse(cpus)
	if err != nil {
		return err
	}
	rest, err := cpulist.Parse(housekeeping)
	if err != nil {
		return err
	}
	t := Target{CPUs: mine, Housekeeping: rest, locks: locks}
	if _, err := t.Occupy(fstest.MapFS{}, nil, os.Stdout); err != nil {
		return err
	}
	_, err = fmt.Println("occupied")
	return err
}

// unused is a CPU that no machine of the tests has: taskiso is off it already.
func unused(t *testing.T) cpulist.Set {
	t.Helper()
	cpus, err := cpulist.New(cpulist.MaxCPU)
	if err != nil {
		t.Fatal(err)
	}
	return cpus
}

func TestOccupyMovesOffTheCPUAndClaimsIt(t *testing.T) {
	allowed, err := affinity.Of(0)
	if err != nil {
		t.Fatal(err)
	}
	if allowed.Len() < 2 {
		t.Skip("there is no other CPU to move to")
	}
	last, _ := allowed.Last()
	only, err := cpulist.New(last)
	if err != nil {
		t.Fatal(err)
	}
	locks := filepath.Join(t.TempDir(), "cpus")
	child := exec.Command(os.Args[0], occupy, only.String(), allowed.Minus(only).String(), locks)
	child.Stderr = t.Output()
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Wait()
	defer stdin.Close()
	line := make([]byte, 200)
	if n, err := stdout.Read(line); err != nil || string(line[:n]) != "occupied\n" {
		t.Fatalf("the child printed %q, error %v", line[:n], err)
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", child.Process.Pid))
	if err != nil || len(threads) < 2 {
		t.Fatalf("threads %q of the child, error %v: want all of Go's runtime", threads, err)
	}
	for _, thread := range threads {
		tid, err := strconv.Atoi(filepath.Base(thread))
		if err != nil {
			t.Fatal(err)
		}
		if on, err := affinity.Of(tid); err != nil || on.Contains(last) {
			t.Errorf("thread %d may run on CPU %v, error %v: want it off CPU %d", tid, on, err, last)
		}
	}
	if _, err := claim.CPUs(locks, only); !errors.Is(err, claim.ErrInUse) || !strings.Contains(err.Error(), fmt.Sprint(child.Process.Pid)) {
		t.Errorf("another claim of CPU %d: error %v, want one that names process %d", last, err, child.Process.Pid)
	}
}

// A command runs in a partition that has its CPUs, and the CPUs are reserved until the release.
func TestOccupyGivesRoomAndClaims(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root enters a partition")
	}
	cpus := unused(t)
	target := Target{CPUs: cpus, locks: t.TempDir()}
	command := &launch.Command{CPUs: cpus}
	release, err := target.Occupy(partitioned("taskiso-mine", cpus), command, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	if want := "/sys/fs/cgroup/taskiso-mine"; command.Cgroup != want {
		t.Errorf("the command runs in %q, want %q", command.Cgroup, want)
	}
	other := Target{CPUs: cpus, locks: target.locks}
	if _, err := other.Occupy(fstest.MapFS{}, nil, t.Output()); !errors.Is(err, claim.ErrInUse) {
		t.Errorf("a second run on the CPU: error %v, want %v", err, claim.ErrInUse)
	}
	release()
	again, err := other.Occupy(fstest.MapFS{}, nil, t.Output())
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	again()
}

// partitioned is a machine on which only the tasks of a partition run on the CPUs.
func partitioned(dir string, cpus cpulist.Set) fstest.MapFS {
	tree := fstest.MapFS{}
	for name, content := range map[string]string{
		"proc/self/cgroup":                                "0::/",
		"sys/fs/cgroup/cgroup.controllers":                "cpuset",
		"sys/fs/cgroup/cpuset.cpus.effective":             "0-1",
		"sys/fs/cgroup/" + dir + "/cpuset.cpus":           cpus.String(),
		"sys/fs/cgroup/" + dir + "/cpuset.cpus.partition": "isolated",
		"sys/fs/cgroup/" + dir + "/cpuset.cpus.effective": cpus.String(),
	} {
		tree[name] = &fstest.MapFile{Data: []byte(content + "\n")}
	}
	return tree
}

// CPUs on which the command cannot run are not reserved. If a partition is about to be made for it, no room is looked for:
// another one has the CPUs at most until then.
func TestOccupyWithoutRoom(t *testing.T) {
	cpus := unused(t)
	files := partitioned("lpm", cpus)
	locks := filepath.Join(t.TempDir(), "cpus")
	target := Target{CPUs: cpus, locks: locks}
	if _, err := target.Occupy(files, &launch.Command{CPUs: cpus}, t.Output()); err == nil || !strings.Contains(err.Error(), "cgroup/lpm run there") {
		t.Errorf("error %v, want one that names the partition", err)
	}
	if _, err := os.Stat(locks); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the CPU was reserved for nothing: %v", err)
	}
	apart := Target{CPUs: cpus, locks: locks, Apart: true}
	command := &launch.Command{CPUs: cpus}
	release, err := apart.Occupy(files, command, t.Output())
	if err != nil {
		t.Fatalf("for a partition that is to be made: %v", err)
	}
	release()
	if command.Cgroup != "" {
		t.Errorf("the command runs in %q before the partition is made", command.Cgroup)
	}
	if _, err := apart.Occupy(files, nil, t.Output()); err == nil {
		t.Error("the busy loop, which is not confined to a partition, has no room and was not refused")
	}
}

// A command runs also where CPUs cannot be reserved, and the report names that.
func TestClaimIsDoneWithout(t *testing.T) {
	cpus := unused(t)
	for _, tc := range []struct {
		name, locks, limit string
		printed            bool
	}{
		{name: "no place", limit: "XDG_RUNTIME_DIR is not set"},
		{name: "no permission", locks: "/sys/kernel/taskiso", limit: "reserving CPU", printed: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var warnings strings.Builder
			target := Target{CPUs: cpus, locks: tc.locks}
			release, err := target.Occupy(fstest.MapFS{}, nil, &warnings)
			if err != nil {
				t.Fatal(err)
			}
			release()
			if len(target.Limits) != 1 || !strings.Contains(target.Limits[0], tc.limit) {
				t.Errorf("limits %q, want one with %q", target.Limits, tc.limit)
			}
			if got := warnings.String(); (got != "") != tc.printed {
				t.Errorf("printed %q, want something: %v", got, tc.printed)
			}
		})
	}
}
