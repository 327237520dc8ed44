// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/kernfs"
	"github.com/taskiso/taskiso/internal/partition"
	"github.com/taskiso/taskiso/internal/task"
)

// contents returns the text of all files below dir but those of taskiso.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(path, filepath.Join(dir, journals)) {
			return err
		}
		text, err := os.ReadFile(path)
		files[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func sameContents(t *testing.T, dir, when string, want map[string]string) {
	t.Helper()
	got := contents(t, dir)
	for path := range got {
		if _, there := want[path]; !there {
			t.Errorf("%s: %s was left behind", when, path)
		}
	}
	for path, text := range want {
		if got[path] != text {
			t.Errorf("%s: %s holds %q, want %q", when, path, got[path], text)
		}
	}
}

// on runs a partition command for a captured machine, whose cgroups would be
// directories like any others.
func on(t *testing.T, host string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return partitionProgram(t, append([]string{"partition", args[0], "--host", host}, args[1:]...)...)
}

func TestPartitionLife(t *testing.T) {
	host := capturedMachine(t)
	original := contents(t, host)
	if code, out, errs := on(t, host, "list"); code != 0 || out != "No partitions.\n" || errs != "" {
		t.Errorf("list: exit status %d, %q %q", code, out, errs)
	}
	code, out, errs := on(t, host, "create", "-c", "1", "--name", "dpdk", "--partition", "none")
	if code != 0 || !strings.HasPrefix(out, "Partition dpdk: CPU 1 isolated, CPU 0 for everything else; 3 changes made.\n") || errs != "" {
		t.Fatalf("create: exit status %d, output:\n%s%s", code, out, errs)
	}
	if text, err := os.ReadFile(filepath.Join(host, "sys/kernel/mm/ksm/run")); err != nil || string(text) != "0\n" {
		t.Errorf("ksm holds %q, %v", text, err)
	}
	if code, out, _ := on(t, host, "list"); code != 0 || !strings.Contains(out, "dpdk  1     complete   3") {
		t.Errorf("list: exit status %d, output:\n%s", code, out)
	}
	if code, out, _ := on(t, host, "show", "dpdk"); code != 0 || !strings.Contains(out, "/sys/kernel/mm/ksm/run: 1 → 0") {
		t.Errorf("show: exit status %d, output:\n%s", code, out)
	}
	if code, out, _ := on(t, host, "verify", "dpdk"); code != 0 || !strings.Contains(out, "3 settings as they were made, 0 changed") {
		t.Errorf("verify: exit status %d, output:\n%s", code, out)
	}
	if code, out, _ := on(t, host, "recover"); code != 0 || out != "Nothing was left behind.\n" {
		t.Errorf("recover: exit status %d, output:\n%s", code, out)
	}
	if code, out, _ := on(t, host, "undo", "dpdk"); code != 0 || out != "Partition dpdk is undone.\n" {
		t.Errorf("undo: exit status %d, output:\n%s", code, out)
	}
	sameContents(t, host, "after undo", original)
}

// A setting that somebody changed is named with who probably did it, and undone
// only by force.
func TestPartitionDrift(t *testing.T) {
	host := capturedMachine(t)
	original := contents(t, host)
	on(t, host, "create", "-c", "1", "--partition", "none")
	affinity := filepath.Join(host, "proc/irq/24/smp_affinity_list")
	if err := errors.Join(os.WriteFile(affinity, []byte("1\n"), 0), os.MkdirAll(filepath.Join(host, "proc/77"), 0o755),
		os.WriteFile(filepath.Join(host, "proc/77/comm"), []byte("irqbalance\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	code, out, _ := on(t, host, "verify", "default")
	if code != exitNotAsMade || !strings.Contains(out, `is "1", was set to "0" (before that "0-1")`) || !strings.Contains(out, "probably irqbalance (process 77)") {
		t.Errorf("verify: exit status %d, output:\n%s", code, out)
	}
	code, out, _ = on(t, host, "verify", "default", "--json")
	var v partition.Verification
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != exitNotAsMade || len(v.Drifts) != 1 || v.Held != 2 {
		t.Errorf("verify --json: exit status %d, %v, output:\n%s", code, err, out)
	}
	if code, _, errs := on(t, host, "undo", "default"); code != exitFailed || !strings.Contains(errs, "--force overwrites it") {
		t.Errorf("undo: exit status %d, error %q", code, errs)
	}
	if code, _, errs := on(t, host, "undo", "default", "--force"); code != 0 {
		t.Errorf("undo --force: exit status %d, error %q", code, errs)
	}
	os.RemoveAll(filepath.Join(host, "proc/77"))
	sameContents(t, host, "after undo --force", original)
}

func TestPartitionCommandErrors(t *testing.T) {
	host := capturedMachine(t)
	if code, _, errs := on(t, host, "create", "-c", "1", "--name", "one", "--partition", "none"); code != 0 {
		t.Fatal(errs)
	}
	before := contents(t, host)
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"create", "-c", "1", "--name", "one", "--partition", "none"}, exitFailed, "partition one: there is a partition of that name: undo it first"},
		{[]string{"create", "-c", "1", "--name", "two", "--partition", "none"}, exitFailed, "CPU 1: another partition has these CPUs: one"},
		{[]string{"create", "-c", "0-1"}, exitUsage, "one must be left for the rest"},
		{[]string{"create", "-c", "1", "-H", "1"}, exitUsage, "CPU 1 cannot both be isolated and do housekeeping"},
		{[]string{"create"}, exitUsage, "no CPU given"},
		{[]string{"create", "-c", "7"}, exitUsage, "cpus: CPU 7: this machine has only CPU 0-1"},
		{[]string{"create", "-c", "1", "--name", "../x"}, exitUsage, `name "../x"`},
		{[]string{"create", "-c", "0", "--name", "two", "--partition", "none"}, exitUsage, "CPU 0 is all that no other partition has, or its cores"},
		{[]string{"plan", "-c", "1", "--require", "rps"}, exitFailed, "setting rps: required, but not possible here"},
		{[]string{"verify"}, exitUsage, "taskiso partition verify takes the NAME of a partition"},
		{[]string{"verify", "none"}, exitUsage, `partition "none": no such partition; "taskiso partition list" shows what there is`},
		{[]string{"undo", "none"}, exitUsage, `partition "none": no such partition`},
		{[]string{"show", "../lock"}, exitUsage, `partition "../lock": no such partition`},
		{[]string{"recover", "x"}, exitUsage, "taskiso partition recover --help"},
	} {
		code, _, errs := on(t, host, test.args...)
		if code != test.code || !strings.Contains(errs, test.want) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%v: exit status %d, error %q, want %d with %q in one line", test.args, code, errs, test.code, test.want)
		}
	}
	sameContents(t, host, "after errors", before)
}

func TestPartitionWarnsOfCPU0(t *testing.T) {
	host := capturedMachine(t)
	code, out, _ := on(t, host, "create", "-c", "0", "--partition", "none")
	if code != 0 || !strings.Contains(out, "Warning: CPU 0 does work that the kernel gives to no other CPU") {
		t.Errorf("exit status %d, output:\n%s", code, out)
	}
}

// Without --host a command under test would be about this machine, which its
// files, opened to be read only, do not allow.
func TestPartitionCannotChangeThisMachine(t *testing.T) {
	files, err := kernfs.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	p := &program{files: files}
	opened, done, err := p.openMachine(&machineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	if err := opened.Write("/proc/self/comm", "changed"); !errors.Is(err, kernfs.ErrReadOnly) {
		t.Errorf("writing: %v, want ErrReadOnly", err)
	}
}

func TestPartitionCompletion(t *testing.T) {
	host := capturedMachine(t)
	on(t, host, "create", "-c", "1", "--name", "dpdk", "--partition", "none")
	_, out, _ := partitionProgram(t, "__complete", "partition", "undo", "--host", host, "")
	if !strings.HasPrefix(out, "dpdk\tCPU 1, complete\n") {
		t.Errorf("completed:\n%s", out)
	}
	_, out, _ = partitionProgram(t, "__complete", "partition", "create", "--skip", "")
	if !strings.Contains(out, "irq-affinity\n") {
		t.Errorf("completed:\n%s", out)
	}
}

// A signal that comes while another process has the store ends the wait.
func TestPartitionInterrupted(t *testing.T) {
	host := capturedMachine(t)
	original := contents(t, host)
	if err := os.MkdirAll(filepath.Join(host, journals), 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := os.Create(filepath.Join(host, journals, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	// To this process, once the command's own handler is there: until then the
	// signal has one of the test's.
	guard, stop := task.Interruptible()
	defer stop()
	go func() {
		time.Sleep(200 * time.Millisecond)
		_ = unix.Kill(os.Getpid(), unix.SIGTERM)
	}()
	code, _, errs := on(t, host, "create", "-c", "1", "--partition", "none")
	if want := exitSignal + int(unix.SIGTERM); code != want || !strings.Contains(errs, "interrupted by SIGTERM") {
		t.Errorf("exit status %d, error %q, want %d", code, errs, want)
	}
	<-guard.Done()
	sameContents(t, host, "after a signal", original)
}

func TestDoctorGrades(t *testing.T) {
	host := capturedMachine(t)
	code, out, errs := partitionProgram(t, "doctor", "-c", "1", "--host", host)
	if code != exitMissing || !strings.Contains(out, "now      ksm") || !strings.Contains(out, "only with a boot") || errs != "" {
		t.Errorf("exit status %d, output:\n%s%s", code, out, errs)
	}
	if code, _, errs := partitionProgram(t, "doctor", "-c", "9", "--host", host); code != exitUsage || !strings.Contains(errs, "this machine has only CPU 0-1") {
		t.Errorf("exit status %d, error %q", code, errs)
	}
	if code, _, errs := partitionProgram(t, "doctor", "--host", host); code != exitUsage || !strings.Contains(errs, "with -c") {
		t.Errorf("exit status %d, error %q", code, errs)
	}
}
