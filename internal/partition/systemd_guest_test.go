// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/systemd"
)

// The services sleep. What they ask for makes systemd use other controllers.
var services = map[string]string{
	"plain":     "",
	"memory":    "MemoryMax=300M\nCPUWeight=50\n",
	"cpuset":    "AllowedCPUs=0\n",
	"delegated": "Delegate=yes\n",
	"inside":    "Slice=taskiso_guest.slice\n",
}

func systemctl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("/usr/bin/systemctl", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("systemctl %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func writeServices(t *testing.T) {
	t.Helper()
	const dir = "/run/systemd/system"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, more := range services {
		text := "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/init\nEnvironment=" + sleepVariable + "=1\n" + more
		if err := os.WriteFile(filepath.Join(dir, name+".service"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	systemctl(t, "daemon-reload")
}

// workOfSystemd is what systemd does in a day, each step by its name.
func workOfSystemd(t *testing.T, after func(step string)) {
	t.Helper()
	do := func(args ...string) {
		t.Helper()
		systemctl(t, args...)
		after(strings.Join(args, " "))
	}
	do("daemon-reload")
	for _, name := range []string{"plain", "memory", "cpuset", "delegated"} {
		do("start", name)
		do("stop", name)
	}
	do("start", "plain")
	do("set-property", "--runtime", "plain", "CPUWeight=20")
	do("set-property", "--runtime", "plain", "AllowedCPUs=0-1")
	do("stop", "plain")
	do("daemon-reexec")
	do("start", "memory")
	do("stop", "memory")
}

// unitsOfSystemd is what systemd has of us: units, and files for them.
func unitsOfSystemd(t *testing.T) []string {
	t.Helper()
	var list []string
	for line := range strings.Lines(systemctl(t, "list-units", "--all", "--full", "--no-legend", "--plain")) {
		if strings.Contains(line, "taskiso") {
			list = append(list, line)
		}
	}
	for _, dir := range []string{"transient", "system.control", "system"} {
		files, err := filepath.Glob("/run/systemd/" + dir + "/*taskiso*")
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, files...)
	}
	return list
}

func startSleeper(t *testing.T, cgroup string) (pid int, stop func()) {
	t.Helper()
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), sleepVariable+"=1")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cgroup+"/cgroup.procs", []byte(strconv.Itoa(c.Process.Pid)), 0); err != nil {
		t.Error(err)
	}
	return c.Process.Pid, func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	}
}

func contentOf(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}

// unchangedBySystemd is [unchanged] as soon as systemd has taken the controller back, or a minute later: it does that after it
// has said that the slice is gone.
func unchangedBySystemd(t *testing.T, when string, before map[string]string) {
	t.Helper()
	const file = "sys/fs/cgroup/init.scope/cpuset.cpus"
	_, had := before[file]
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat("/" + file); (err == nil) == had {
			break
		}
	}
	unchanged(t, when, before)
}

// TestGuestUnderSystemd: whatever systemd does, the partition stays, with who is in
// it; and in the end systemd is as it was.
func TestGuestUnderSystemd(t *testing.T) {
	writeServices(t)
	before, units := snapshot(t), unitsOfSystemd(t)
	s := machineStore(t.TempDir())
	created, err := s.Create(t.Context(), guestSpec)
	if err != nil {
		t.Fatal(err)
	}
	dir := cgroupOfChanges(created.Plan.All())
	if dir != "/sys/fs/cgroup/taskiso_guest.slice" {
		t.Fatalf("the cgroup is %s", dir)
	}
	pid, stop := startSleeper(t, dir)
	holds := func(when string) {
		if kind, cpus := contentOf(dir+"/cpuset.cpus.partition"), contentOf(dir+"/cpuset.cpus.effective"); kind != "isolated" || cpus != "2-3" {
			t.Errorf("%s: the partition is %q with CPU %q", when, kind, cpus)
		}
		if got := cpusOf(t, pid); got != "2-3" {
			t.Errorf("%s: who is in it may run on CPU %s", when, got)
		}
	}
	holds("created")
	workOfSystemd(t, holds)
	v, err := s.Verify(t.Context(), "guest")
	if err != nil || len(v.Drifts) > 0 {
		t.Errorf("verify: %v, %v", v, err)
	}
	stop()

	systemctl(t, "start", "inside")
	main := strings.TrimSpace(systemctl(t, "show", "--property=MainPID", "--value", "inside"))
	if n, err := strconv.Atoi(main); err != nil || cpusOf(t, n) != "2-3" {
		t.Errorf("the service in the slice is process %q, %v", main, err)
	}
	if v, err := s.Verify(t.Context(), "guest"); err != nil || slices.ContainsFunc(v.Missed, func(e Effect) bool { return e.Setting == tasksSetting }) {
		t.Errorf("verify with a service in it: %v, %v", v, err)
	}
	if err := s.Undo(t.Context(), "guest", false); !errors.Is(err, ErrBusy) {
		t.Errorf("undo with a service in it: %v, want ErrBusy", err)
	}
	systemctl(t, "stop", "inside")
	if err := s.Undo(t.Context(), "guest", false); err != nil {
		t.Fatal(err)
	}
	unchangedBySystemd(t, "after undo", before)
	if got := unitsOfSystemd(t); !slices.Equal(got, units) {
		t.Errorf("systemd has %q, had %q", got, units)
	}
	workOfSystemd(t, func(string) {})
	unchangedBySystemd(t, "after undo, and more", before)
}

// TestGuestUnderSystemdScope: a delegated scope with CPUs of its own in the slice, as container managers make them, leaves
// the partition as it is; what somebody else writes to the slice, verify finds.
func TestGuestUnderSystemdScope(t *testing.T) {
	before := snapshot(t)
	s := machineStore(t.TempDir())
	created, err := s.Create(t.Context(), guestSpec)
	if err != nil {
		t.Fatal(err)
	}
	dir := cgroupOfChanges(created.Plan.All())
	slice, scope := filepath.Base(dir), dir+"/ctr.scope"
	c := exec.Command("/usr/bin/systemd-run", "--scope", "--unit=ctr", "-p", "Slice="+slice, "-p", "AllowedCPUs=3", "-p", "Delegate=yes", "/init")
	c.Env = append(os.Environ(), sleepVariable+"=1")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Wait()
	defer c.Process.Kill()
	holds := func(when string) {
		t.Helper()
		if kind, cpus := contentOf(dir+"/cpuset.cpus.partition"), contentOf(dir+"/cpuset.cpus.effective"); kind != "isolated" || cpus != "2-3" {
			t.Errorf("%s: the partition is %q with CPU %q", when, kind, cpus)
		}
		if got := contentOf(scope + "/cpuset.cpus.effective"); got != "3" {
			t.Errorf("%s: the scope has CPU %q", when, got)
		}
		if v, err := s.Verify(t.Context(), "guest"); err != nil || len(v.Drifts) > 0 {
			t.Errorf("%s: verify: %v, %v", when, v, err)
		}
	}
	for deadline := time.Now().Add(2 * time.Minute); contentOf(scope+"/cpuset.cpus.effective") != "3" && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	if err := os.Mkdir(scope+"/inner", 0o755); err != nil {
		t.Fatal(err)
	}
	holds("with the scope")
	systemctl(t, "daemon-reload")
	holds("after daemon-reload")
	systemctl(t, "set-property", "--runtime", slice, "AllowedCPUs=3")
	v, err := s.Verify(t.Context(), "guest")
	if err != nil || !slices.ContainsFunc(v.Drifts, func(d Drift) bool { return d.Path == dir }) {
		t.Errorf("verify after another changed the slice: %v, %v", v, err)
	}
	systemctl(t, "set-property", "--runtime", slice, "AllowedCPUs=2-3")
	holds("put right")
	systemctl(t, "stop", "ctr.scope")
	if err := s.Undo(t.Context(), "guest", false); err != nil {
		t.Fatal(err)
	}
	unchangedBySystemd(t, "after undo", before)
}

// withoutSystemd hides that systemd can be asked.
type withoutSystemd struct{ fs.FS }

func (w withoutSystemd) Open(name string) (fs.File, error) {
	if "/"+name == systemd.Socket {
		return nil, fs.ErrNotExist
	}
	return w.FS.Open(name)
}

// TestGuestUnderSystemdUnknown: a cgroup that systemd does not know loses its
// controller, and verify says who took it. It shows too that the test above can fail.
func TestGuestUnderSystemdUnknown(t *testing.T) {
	writeServices(t)
	before := snapshot(t)
	files := machineFiles()
	defer files.Close()
	s := NewStore(t.TempDir(), files, withoutSystemd{files.View()})
	if _, err := s.Create(t.Context(), guestSpec); err != nil {
		t.Fatal(err)
	}
	file := Cgroup("guest") + "/cpuset.cpus.partition"
	if got := contentOf(file); got != "isolated" {
		t.Fatalf("the partition is %q", got)
	}
	systemctl(t, "start", "plain")
	systemctl(t, "stop", "plain")
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("systemd leaves the controller to cgroups that it does not know: %v", err)
	}
	v, err := s.Verify(t.Context(), "guest")
	if err != nil || !slices.ContainsFunc(v.Drifts, func(d Drift) bool { return d.Path == file && strings.Contains(d.Suspect, "systemd") }) {
		t.Errorf("verify: %v, %v", v, err)
	}
	if err := s.Undo(t.Context(), "guest", false); err != nil {
		t.Error(err)
	}
	unchangedBySystemd(t, "after undo", before)
}

// TestGuestUnderSystemdKilled: as TestGuestKilled, around the slice.
func TestGuestUnderSystemdKilled(t *testing.T) {
	before, units := snapshot(t), unitsOfSystemd(t)
	files := machineFiles()
	defer files.Close()
	plan, err := New(guestSpec, files.View())
	if err != nil {
		t.Fatal(err)
	}
	last := len(plan.All())
	for n := last - 2; n <= last; n++ { // before the slice, after it, after the partition
		dir := t.TempDir()
		s := machineStore(dir)
		if !wasKilled(t, child("create", dir, "guest", n)) {
			t.Fatalf("not killed after change %d", n)
		}
		if gone, err := s.Recover(t.Context(), false); err != nil || len(gone) != 1 {
			t.Fatalf("killed after change %d: recovered %v, %v", n, gone, err)
		}
		time.Sleep(time.Second) // what systemd may still have to do
		unchangedBySystemd(t, "killed after change "+strconv.Itoa(n)+", and recovered", before)
		if got := unitsOfSystemd(t); !slices.Equal(got, units) {
			t.Errorf("systemd has %q, had %q", got, units)
		}
	}
}

// TestGuestUnderSystemdTemporary: who runs in the partition of a run that was killed
// goes back to the service that started it.
func TestGuestUnderSystemdTemporary(t *testing.T) {
	before := snapshot(t)
	s := machineStore(t.TempDir())
	spec := guestSpec
	spec.Name = "run-12"
	made, err := s.CreateTemporary(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if want := `/sys/fs/cgroup/taskiso_run\x2d12.slice`; made.Cgroup() != want {
		t.Errorf("the cgroup is %s, want %s", made.Cgroup(), want)
	}
	pid, stop := startSleeper(t, made.Cgroup())
	defer stop()
	_ = made.lock.Close() // as its maker's end would
	if gone, err := s.Recover(t.Context(), false); err != nil || len(gone) != 1 {
		t.Fatalf("recovered %v, %v", gone, err)
	}
	if got := contentOf("/proc/" + strconv.Itoa(pid) + "/cgroup"); got != "0::/system.slice/vmtest.service" {
		t.Errorf("who was in it is in %s", got)
	}
	unchangedBySystemd(t, "after recover", before)
}
