// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/kernfs"
	"github.com/taskiso/taskiso/internal/partition/thread"
	"github.com/taskiso/taskiso/internal/vmtest"
)

// machineFiles opens this machine to be changed, which only a guest may be.
func machineFiles() Machine {
	if !vmtest.InGuest() {
		panic("not in a guest")
	}
	files, err := kernfs.OpenWritable("/")
	if err != nil {
		panic(err)
	}
	return Machine{FS: files}
}

func machineStore(dir string) *Store {
	files := machineFiles()
	return NewStore(dir, files, files.View())
}

// watched are the files that are to be the same after undo: all that a plan reads,
// so also all that it writes, and what the kernel makes of a cpuset.
var watched = append([]string{
	"sys/fs/cgroup/*",
	"sys/fs/cgroup/cpuset.*",
	"sys/devices/virtual/workqueue/cpumask*",
	"sys/kernel/debug/sched/domains/cpu*/*",
}, captured()...)

// unwatched are those that others change, each with the reason.
var unwatched = map[string]string{
	"cgroup.procs":   "processes come and go",
	"cgroup.threads": "threads come and go",
	"cgroup.stat":    "counts",
	"cpu.stat":       "counts",
	"memory.stat":    "counts",
	"pressure":       "averages",
	"mounts":         "the tests mount",
	"numa_stat":      "counts",
	"io.stat":        "counts",

	"current_clocksource": "the kernel's watchdog takes another one when the TSC of an emulated machine looks unstable, as on a busy host",
}

// snapshot returns what is watched, and the affinity of each thread that has one
// that can be set. Those of others are the kernel's: it gives unbound workers
// that exist all CPUs when a cpuset partition is undone, and takes it back from
// those it starts later. A thread of an interrupt follows that when it next occurs.
func snapshot(t *testing.T) map[string]string {
	t.Helper()
	files := machineFiles()
	defer files.Close()
	all := map[string]string{}
	for _, pattern := range watched {
		paths, err := fs.Glob(files.View(), pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if isUnwatched(path) {
				continue
			}
			text, err := files.Read("/" + path)
			if err != nil {
				text = "a directory, or cannot be read"
			}
			all[path] = text
		}
	}
	running, err := thread.All(files.View())
	if err != nil {
		t.Fatal(err)
	}
	for _, th := range running {
		if th.Movable() && !strings.HasPrefix(th.Name, "irq/") {
			all[fmt.Sprintf("%s, %s, begun at %s", th.Dir, th.Name, th.Start)] = th.Allowed.String()
		}
	}
	return all
}

func isUnwatched(path string) bool {
	for part := range unwatched {
		if strings.Contains(filepath.Base(path), part) {
			return true
		}
	}
	return false
}

// unchanged fails the test unless what is watched is what it was. Threads that
// have begun or ended meanwhile are not compared.
func unchanged(t *testing.T, when string, before map[string]string) {
	t.Helper()
	after := snapshot(t)
	for path, text := range before {
		if got, there := after[path]; got != text && (there || !strings.HasPrefix(path, "/proc/")) {
			t.Errorf("%s: %s holds %q, want %q", when, path, got, text)
		}
	}
	for path := range after {
		if _, there := before[path]; !there && !strings.HasPrefix(path, "/proc/") {
			t.Errorf("%s: %s was left behind", when, path)
		}
	}
}

var guestSpec = Spec{Name: "guest", CPUs: "2-3"}

func specsOfAllKinds() []Spec {
	specs := []Spec{
		guestSpec,
		{Name: "root", CPUs: "2-3", Partition: Root, Profile: Throughput},
		{Name: "cycle", CPUs: "2-3", Cycle: true},
	}
	if thorough {
		specs = append(specs, Spec{Name: "none", CPUs: "2-3", Partition: None}, Spec{Name: "zero", CPUs: "0"})
	}
	return specs
}

func TestGuestCreateVerifyUndo(t *testing.T) {
	for _, spec := range specsOfAllKinds() {
		t.Run(spec.Name, func(t *testing.T) {
			before := snapshot(t)
			s := machineStore(t.TempDir())
			created, err := s.Create(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			if err := created.WriteText(&text); err != nil {
				t.Error(err)
			}
			t.Log(text.String())
			v, err := s.Verify(t.Context(), spec.Name)
			if err != nil {
				t.Fatal(err)
			}
			var verified strings.Builder
			if err := v.WriteText(&verified); err != nil {
				t.Error(err)
			}
			t.Log(verified.String())
			if spec.Cycle && !v.OK() {
				t.Error("something is without effect in spite of the cycle")
			}
			if len(v.Drifts) > 0 || v.Held < 15 {
				t.Errorf("%d settings held, changed: %v", v.Held, v.Drifts)
			}
			if err := s.Undo(t.Context(), spec.Name, false); err != nil {
				t.Fatal(err)
			}
			unchanged(t, "after undo", before)
		})
	}
}

// CPUs that are isolated at boot already can be set apart all the same, also where the kernel makes no partition of them.
func TestGuestBootIsolated(t *testing.T) {
	for _, spec := range []Spec{guestSpec, {Name: "root", CPUs: "2-3", Partition: Root}, {Name: "mixed", CPUs: "1-2"}} {
		t.Run(spec.Name, func(t *testing.T) {
			before := snapshot(t)
			s := machineStore(t.TempDir())
			created, err := s.Create(t.Context(), spec)
			if spec.Name == "mixed" && err != nil { // without a cpuset one of them would not be isolated
				t.Log(err)
				if !errors.Is(err, kernfs.ErrNotTaken) || !strings.Contains(err.Error(), "--partition none") {
					t.Errorf("got %v, want that it was not taken, and what to do", err)
				}
				unchanged(t, "after a failed create", before)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			kind, err := os.ReadFile(Cgroup(spec.Name) + "/cpuset.cpus.partition")
			t.Logf("%s: %v; refused: %v; no effect: %v", kind, err, created.Refused, created.Missed)
			if want := map[bool]string{true: "member", false: created.Plan.Partition}[created.kind() == None]; strings.TrimSpace(string(kind)) != want {
				t.Errorf("the cgroup is %q, want %q", kind, want)
			}
			for _, e := range created.Missed {
				if !e.Later && (e.Setting == cpusetSetting || e.Setting == tasksSetting) {
					t.Errorf("no effect: %s: %s", e.Setting, e.Reason)
				}
			}
			v, err := s.Verify(t.Context(), spec.Name)
			if err != nil {
				t.Fatal(err)
			}
			if len(v.Drifts) > 0 || v.Held < 15 {
				t.Errorf("%d settings held, changed: %v", v.Held, v.Drifts)
			}
			if err := s.Undo(t.Context(), spec.Name, false); err != nil {
				t.Fatal(err)
			}
			unchanged(t, "after undo", before)
		})
	}
}

// childVariable makes the test binary a process that uses a store: it says what
// it does and in which directory the journals are.
const childVariable = "TASKISO_TEST_PARTITION"

// killing ends the process after its n-th change, as nothing else can be.
type killing struct {
	Machine
	left int
}

func (k *killing) changed(err error) error {
	if k.left--; k.left == 0 {
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
		select {}
	}
	return err
}

func (k *killing) Write(path, value string) error { return k.changed(k.FS.Write(path, value)) }
func (k *killing) Mkdir(path string) error        { return k.changed(k.FS.Mkdir(path)) }
func (k *killing) Rmdir(path string) error        { return k.changed(k.FS.Rmdir(path)) }

func (k *killing) StartSlice(name, cpus string) error {
	return k.changed(k.Machine.StartSlice(name, cpus))
}

func (k *killing) StopSlice(name string) error { return k.changed(k.Machine.StopSlice(name)) }

// beChild does one thing in a process of its own.
func beChild(order string) {
	var what, dir, name string
	var n int
	if _, err := fmt.Sscan(order, &what, &dir, &name, &n); err != nil {
		panic(err)
	}
	files := machineFiles()
	s := NewStore(dir, &killing{files, n}, files.View())
	spec := guestSpec
	spec.Name = name
	var err error
	switch what {
	case "create":
		_, err = s.Create(context.Background(), spec)
	case "undo":
		err = s.Undo(context.Background(), name, false)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func child(what, dir, name string, n int) *exec.Cmd {
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s %d", childVariable, what, dir, name, n))
	return c
}

// wasKilled runs a command and reports whether it was killed.
func wasKilled(t *testing.T, c *exec.Cmd) bool {
	t.Helper()
	out, err := c.CombinedOutput()
	ws, ok := c.ProcessState.Sys().(syscall.WaitStatus)
	if ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL {
		return true
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return false
}

// TestGuestKilled: wherever create is killed, recover puts everything back.
func TestGuestKilled(t *testing.T) {
	before := snapshot(t)
	n := 1
	for ; ; n += killStride {
		dir := t.TempDir()
		s := machineStore(dir)
		if !wasKilled(t, child("create", dir, "guest", n)) {
			if err := s.Undo(t.Context(), "guest", false); err != nil {
				t.Error(err)
			}
			break
		}
		if list, err := s.List(); err != nil || len(list) != 1 || list[0].Condition != Interrupted {
			t.Errorf("killed after write %d: %v, %v, want it interrupted", n, list, err)
		}
		gone, err := s.Recover(t.Context(), false)
		if err != nil || len(gone) != 1 {
			t.Fatalf("killed after write %d: recovered %v, %v", n, gone, err)
		}
		unchanged(t, fmt.Sprintf("killed after write %d, and recovered", n), before)
		if t.Failed() {
			return
		}
		if err := s.Undo(t.Context(), "guest", false); !errors.Is(err, ErrNoPartition) {
			t.Errorf("the journal is still there: %v", err)
		}
	}
	unchanged(t, "undone in the end", before)
	t.Logf("killed after every %d. write, the last time after write %d", killStride, n-killStride)
	if n < 20 {
		t.Errorf("only %d writes", n-1)
	}
}

// TestGuestUndoKilled: the same for undo.
func TestGuestUndoKilled(t *testing.T) {
	before := snapshot(t)
	for n := 1; ; n += 2 * killStride {
		dir := t.TempDir()
		s := machineStore(dir)
		if _, err := s.Create(t.Context(), guestSpec); err != nil {
			t.Fatal(err)
		}
		if !wasKilled(t, child("undo", dir, "guest", n)) {
			unchanged(t, "undone", before)
			return
		}
		if gone, err := s.Recover(t.Context(), false); err != nil || len(gone) != 1 {
			t.Fatalf("killed after write %d of undo: recovered %v, %v", n, gone, err)
		}
		unchanged(t, fmt.Sprintf("killed after write %d of undo, and recovered", n), before)
	}
}

// TestGuestTogether: of two creates for the same CPUs one wins.
func TestGuestTogether(t *testing.T) {
	before := snapshot(t)
	dir := t.TempDir()
	var commands []*exec.Cmd
	outputs := make([]bytes.Buffer, 2)
	for i, name := range []string{"first", "second"} {
		c := child("create", dir, name, 0)
		c.Stdout, c.Stderr = &outputs[i], &outputs[i]
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		commands = append(commands, c)
	}
	var failed []string
	for i, c := range commands {
		if err := c.Wait(); err != nil {
			failed = append(failed, outputs[i].String())
		}
	}
	if len(failed) != 1 || !strings.Contains(failed[0], ErrOverlap.Error()) {
		t.Errorf("failures %q, want one that says who has the CPUs", failed)
	}
	s := machineStore(dir)
	list, err := s.List()
	if err != nil || len(list) != 1 || list[0].Condition != Complete {
		t.Fatalf("left: %v, %v", list, err)
	}
	if err := s.Undo(t.Context(), list[0].Name, false); err != nil {
		t.Error(err)
	}
	unchanged(t, "after undo", before)
}

// hooked calls a function before the n-th write.
type hooked struct {
	Machine
	left int
	do   func()
}

func (h *hooked) Write(path, value string) error {
	if h.left--; h.left == 0 {
		h.do()
	}
	return h.FS.Write(path, value)
}

func online(t *testing.T, cpu int, value string) {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/online", cpu), []byte(value), 0); err != nil {
		t.Error(err)
	}
}

// TestGuestOffline: a CPU that goes offline at any point of create leaves nothing
// half done, and once it is back all is as it was.
func TestGuestOffline(t *testing.T) {
	// The masks of interrupts that were affine to nothing else are the kernel's
	// doing when a CPU goes; so all are compared with a machine that had it once.
	online(t, 3, "0")
	online(t, 3, "1")
	before := snapshot(t)
	// Undone while a CPU is offline, Linux 6.1 gives threads those that are online,
	// and does not add the CPU when it comes back (cpuset_hotplug_workfn).
	for path, value := range before {
		if strings.HasPrefix(path, "/proc/") && value == "0-3" {
			delete(before, path)
		}
	}
	points := []int{28}
	if thorough {
		points = []int{1, 5, 12, 15, 20, 25, 28}
	}
	for _, n := range points {
		files := machineFiles()
		dir := t.TempDir()
		s := NewStore(dir, &hooked{files, n, func() { online(t, 3, "0") }}, files.View())
		_, err := s.Create(t.Context(), guestSpec)
		t.Logf("CPU 3 went offline before write %d: %v", n, err)
		if err == nil {
			if v, err := s.Verify(t.Context(), "guest"); err != nil || v.OK() {
				t.Errorf("verify with an offline CPU: %v, %v, want it told", v, err)
			}
			if err := s.Undo(t.Context(), "guest", false); err != nil && !errors.Is(err, unix.EBUSY) {
				t.Error(err)
			}
		}
		online(t, 3, "1")
		// The deadline server of an offline CPU cannot be set: that is left to do.
		if _, err := s.Recover(t.Context(), false); err != nil {
			t.Error(err)
		}
		unchanged(t, fmt.Sprintf("offline before write %d", n), before)
		if list, err := s.List(); err != nil || len(list) != 0 {
			t.Errorf("left: %v, %v", list, err)
		}
	}
}

// TestGuestReadOnly: what cannot be written is one clear error.
func TestGuestReadOnly(t *testing.T) {
	before := snapshot(t)
	if err := unix.Mount("", "/sys", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	s := machineStore(t.TempDir())
	_, err := s.Create(t.Context(), guestSpec)
	if !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), "(usual in a container), in /sys; make") || strings.Contains(err.Error(), "and then") {
		t.Errorf("got %v, want EROFS with the mount", err)
	}
	if err := unix.Mount("", "/sys", "", unix.MS_REMOUNT|unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	unchanged(t, "after a failed create", before)
}

// TestGuestFull: nor is anything half applied if /run is full.
func TestGuestFull(t *testing.T) {
	before := snapshot(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=8k"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, 0)
	s := machineStore(dir)
	if err := os.WriteFile(filepath.Join(dir, "filler"), make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := s.Create(t.Context(), guestSpec)
	if !errors.Is(err, unix.ENOSPC) || strings.Contains(err.Error(), "and then") {
		t.Errorf("got %v, want ENOSPC", err)
	}
	unchanged(t, "after a failed create", before)
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Errorf("left: %v, %v", list, err)
	}
}

// TestGuestInterrupted: a signal in the middle undoes what was done.
func TestGuestInterrupted(t *testing.T) {
	before := snapshot(t)
	files := machineFiles()
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupt := errors.New("interrupted")
	s := NewStore(t.TempDir(), &hooked{files, 10, func() { cancel(interrupt) }}, files.View())
	if _, err := s.Create(ctx, guestSpec); !errors.Is(err, interrupt) {
		t.Errorf("got %v, want the cause", err)
	}
	unchanged(t, "after an interrupted create", before)
}

// TestGuestAffinityIsKept: threads with an affinity of their own have it again
// after undo, which older kernels would forget, and what somebody set meanwhile
// is left alone.
func TestGuestAffinityIsKept(t *testing.T) {
	sleeper := func(cpus ...int) int {
		c := exec.Command("/proc/self/exe")
		c.Env = append(os.Environ(), sleepVariable+"=1")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = c.Process.Kill()
			_ = c.Wait()
		})
		setCPUs(t, c.Process.Pid, cpus...)
		return c.Process.Pid
	}
	partly, only, changed := sleeper(0, 2), sleeper(3), sleeper(1, 2)
	s := machineStore(t.TempDir())
	if _, err := s.Create(t.Context(), guestSpec); err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{partly, only, changed} {
		if got := cpusOf(t, pid); strings.ContainsAny(got, "23") {
			t.Errorf("process %d may run on CPU %s", pid, got)
		}
	}
	setCPUs(t, changed, 0)
	if err := s.Undo(t.Context(), "guest", false); err != nil {
		t.Fatal(err)
	}
	for pid, want := range map[int]string{partly: "0,2", only: "3", changed: "0"} {
		if got := cpusOf(t, pid); got != want {
			t.Errorf("after undo: CPU %s, want %s", got, want)
		}
	}
}

// TestGuestCpusetsOfOthers: a thread that was begun in a cgroup with fewer CPUs
// while there was a partition has all of the cgroup's again after undo.
func TestGuestCpusetsOfOthers(t *testing.T) {
	const dir = "/sys/fs/cgroup/container"
	for _, err := range []error{
		os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+cpuset"), 0),
		os.Mkdir(dir, 0o755),
		os.WriteFile(dir+"/cpuset.cpus", []byte("1-3"), 0),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		if err := errors.Join(os.Remove(dir), os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("-cpuset"), 0)); err != nil {
			t.Error(err)
		}
	}()
	s := machineStore(t.TempDir())
	before := snapshot(t)
	created, err := s.Create(t.Context(), Spec{Name: "guest", CPUs: "3"})
	if err != nil {
		// 6.1 and 6.12 have no partition with CPUs that are in another cpuset.cpus.
		if !errors.Is(err, kernfs.ErrNotTaken) || !strings.Contains(err.Error(), "isolated invalid (Cpu list in cpuset.cpus not exclusive)") {
			t.Error(err)
		}
		unchanged(t, "after a refused create", before)
		return
	}
	if notes := fmt.Sprint(created.Plan.Settings); !strings.Contains(notes, dir+" has CPU 3 in its cpuset.cpus") {
		t.Errorf("no note of %s", dir)
	}
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), sleepVariable+"=1")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	}()
	if err := os.WriteFile(dir+"/cgroup.procs", fmt.Append(nil, c.Process.Pid), 0); err != nil {
		t.Fatal(err)
	}
	if got := cpusOf(t, c.Process.Pid); got != "1-2" {
		t.Errorf("with a partition: CPU %s, want 1-2", got)
	}
	if err := s.Undo(t.Context(), "guest", false); err != nil {
		t.Fatal(err)
	}
	if got := cpusOf(t, c.Process.Pid); got != "1-3" {
		t.Errorf("after undo: CPU %s, want 1-3", got)
	}
}

const sleepVariable = "TASKISO_TEST_SLEEP"

func setCPUs(t *testing.T, pid int, cpus ...int) {
	t.Helper()
	set, err := cpulist.New(cpus...)
	if err == nil {
		err = affinity.Set(pid, set)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func cpusOf(t *testing.T, pid int) string {
	t.Helper()
	th, err := thread.Read(os.DirFS("/"), fmt.Sprintf("proc/%d/task/%[1]d", pid))
	if err != nil {
		t.Fatal(err)
	}
	return th.Allowed.String()
}

// TestGuestTemporary: a partition of a process that is gone is undone by recover,
// and who runs in it goes on elsewhere.
func TestGuestTemporary(t *testing.T) {
	before := snapshot(t)
	s := machineStore(t.TempDir())
	made, err := s.CreateTemporary(t.Context(), guestSpec)
	if err != nil {
		t.Fatal(err)
	}
	if gone, err := s.Recover(t.Context(), false); err != nil || len(gone) != 0 {
		t.Errorf("recover took it away from its maker: %v, %v", gone, err)
	}
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), sleepVariable+"=1")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	}()
	if err := os.WriteFile(filepath.Join(made.Cgroup(), "cgroup.procs"), fmt.Append(nil, c.Process.Pid), 0); err != nil {
		t.Fatal(err)
	}
	if got := cpusOf(t, c.Process.Pid); got != "2-3" {
		t.Errorf("in the cgroup it may run on CPU %s, want 2-3", got)
	}
	_ = made.lock.Close() // as its maker's end would
	if list, err := s.List(); err != nil || len(list) != 1 || list[0].Condition != LeftBehind {
		t.Errorf("list: %v, %v", list, err)
	}
	if gone, err := s.Recover(t.Context(), false); err != nil || len(gone) != 1 {
		t.Fatalf("recovered %v, %v", gone, err)
	}
	if got := cpusOf(t, c.Process.Pid); got != "0-3" {
		t.Errorf("after recover it may run on CPU %s, want 0-3", got)
	}
	unchanged(t, "after recover", before)
}

// TestGuestPlainKernelThreads: khugepaged ends and begins again with the setting of huge pages, and has all CPUs after
// undo, as every kernel thread that began meanwhile has.
func TestGuestPlainKernelThreads(t *testing.T) {
	const enabled = "/sys/kernel/mm/transparent_hugepage/enabled"
	if err := os.WriteFile(enabled, []byte("madvise"), 0); err != nil {
		t.Fatal(err)
	}
	before := kernelThread(t, "khugepaged")
	s := machineStore(t.TempDir())
	if _, err := s.Create(t.Context(), Spec{Name: "guest", CPUs: "2-3", Partition: None}); err != nil {
		t.Fatal(err)
	}
	if got := cpusOf(t, 2); got != "0-1" {
		t.Errorf("kthreadd may run on CPU %s", got)
	}
	if err := s.Undo(t.Context(), "guest", false); err != nil {
		t.Fatal(err)
	}
	after := kernelThread(t, "khugepaged")
	if after == before {
		t.Error("khugepaged has not begun again, so that nothing was tried")
	}
	for name, pid := range map[string]int{"khugepaged": after, "kthreadd": 2} {
		if got := cpusOf(t, pid); got != "0-3" {
			t.Errorf("%s may run on CPU %s after undo", name, got)
		}
	}
}

// kernelThread waits for a kernel thread and returns its number.
func kernelThread(t *testing.T, name string) int {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if pid, runs := processes(machineStore(t.TempDir()).view)[name]; runs {
			return pid
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}
