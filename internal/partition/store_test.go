// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/kernfs"
	"github.com/taskiso/taskiso/internal/partition/thread"
)

var dpdk = Spec{Name: "dpdk", CPUs: "2-3"}

func guest(t *testing.T) (*kernel, tree) {
	t.Helper()
	k := newKernel(t, loadTree(t, "guest-4cpu"))
	return k, k.snapshot()
}

func create(t *testing.T, k *kernel, dir string, spec Spec) *Created {
	t.Helper()
	created, err := k.store(t, dir).Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return created
}

// verify returns what has changed. An effect that is missing fails the test.
func verify(t *testing.T, k *kernel, dir, name string) ([]Drift, error) {
	t.Helper()
	v, err := k.store(t, dir).Verify(t.Context(), name)
	if err != nil {
		return nil, err
	}
	if k.shows == nil && len(v.Missed) > 0 && len(v.Drifts) == 0 {
		t.Errorf("without effect: %v", v.Missed)
	}
	return v.Drifts, nil
}

// journalFiles returns what is in the directory but the lock.
func journalFiles(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*"+journalSuffix))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func TestCreateAndUndo(t *testing.T) {
	for _, m := range machines() {
		t.Run(m.name, func(t *testing.T) {
			k, dir := newKernel(t, m.tree(t)), t.TempDir()
			original := k.snapshot()
			if p, err := New(m.spec, m.tree(t).files(t)); err != nil || p.writable() != nil {
				if _, err := k.store(t, dir).Create(t.Context(), m.spec); !errors.Is(err, syscall.EROFS) {
					t.Errorf("got %v, want EROFS", err)
				}
				k.same(t, "after it was refused", original)
				return
			}
			created := create(t, k, dir, m.spec)
			name := created.Plan.Name
			for _, c := range created.Plan.All() {
				if got, err := c.Read(k); err != nil || !c.Holds(got) {
					t.Errorf("%s holds %q, %v, want %q", c.Path, got, err, c.To)
				}
			}
			if drifts, err := verify(t, k, dir, name); err != nil || len(drifts) > 0 {
				t.Errorf("verify: %v, %v", drifts, err)
			}
			if err := k.store(t, dir).Undo(t.Context(), name, false); err != nil {
				t.Fatal(err)
			}
			k.same(t, "after undo", original)
			if left := journalFiles(t, dir); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestCreateFails: whichever write fails, all is as it was.
func TestCreateFails(t *testing.T) {
	for n := 1; ; n++ {
		k, original := guest(t)
		dir := t.TempDir()
		k.before = func(call int, _, _ string) error {
			if call == n {
				return syscall.ENOSPC
			}
			return nil
		}
		_, err := k.store(t, dir).Create(t.Context(), dpdk)
		if err == nil {
			if n < 20 {
				t.Errorf("only %d writes", n)
			}
			return
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("write %d: %v, want ENOSPC", n, err)
		}
		k.same(t, "after a failed create", original)
		if left := journalFiles(t, dir); len(left) > 0 {
			t.Errorf("write %d: left behind: %v", n, left)
		}
	}
}

type killed struct{}

// kill ends do as SIGKILL would: nothing of it runs any more. It reports
// whether that happened.
func kill(do func()) (died bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(killed); !ok {
				panic(r)
			}
			died = true
		}
	}()
	do()
	return false
}

// killAt makes a kernel in which the caller dies before or after the n-th change.
func (k *kernel) killAt(n int, afterwards bool) {
	k.calls, k.before, k.after = 0, nil, nil
	if afterwards {
		k.after = func(call int, _ string) {
			if call == n {
				panic(killed{})
			}
		}
		return
	}
	k.before = func(call int, _, _ string) error {
		if call == n {
			panic(killed{})
		}
		return nil
	}
}

func (k *kernel) unharmed() { k.calls, k.before, k.after = 0, nil, nil }

// TestCreateKilled: wherever create dies, recover puts everything back, also if
// recover itself dies anywhere and is run again.
func TestCreateKilled(t *testing.T) {
	for _, afterwards := range []bool{false, true} {
		for n := 1; ; n++ {
			k, original := guest(t)
			dir := t.TempDir()
			k.killAt(n, afterwards)
			if !kill(func() { _, _ = k.store(t, dir).Create(t.Context(), dpdk) }) {
				break
			}
			again := 1 + n/2 // dies somewhere in recovering as well
			k.killAt(again, afterwards)
			kill(func() { _, _ = k.store(t, dir).Recover(t.Context(), false) })
			k.unharmed()
			if _, err := k.store(t, dir).Recover(t.Context(), false); err != nil {
				t.Fatalf("killed at %d (afterwards %v): %v", n, afterwards, err)
			}
			k.same(t, "after recover", original)
			if left := journalFiles(t, dir); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		}
	}
}

func TestUndoKilled(t *testing.T) {
	for _, afterwards := range []bool{false, true} {
		for n := 1; ; n++ {
			k, original := guest(t)
			dir := t.TempDir()
			create(t, k, dir, dpdk)
			k.killAt(n, afterwards)
			if !kill(func() { _ = k.store(t, dir).Undo(t.Context(), "dpdk", false) }) {
				break
			}
			k.unharmed()
			if _, err := verify(t, k, dir, "dpdk"); !errors.Is(err, ErrIncomplete) {
				t.Errorf("verify of one half undone: %v, want ErrIncomplete", err)
			}
			if gone, err := k.store(t, dir).Recover(t.Context(), false); err != nil || len(gone) != 1 {
				t.Fatalf("killed at %d (afterwards %v): %v, %v", n, afterwards, gone, err)
			}
			k.same(t, "after recover", original)
		}
	}
}

// TestJournalTorn: a journal that ends anywhere is read, and recover undoes
// what can have been done by then.
func TestJournalTorn(t *testing.T) {
	k, original := guest(t)
	dir := t.TempDir()
	create(t, k, dir, dpdk)
	file := journalFiles(t, dir)[0]
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for cut := 0; cut < len(text); cut += 7 {
		j, err := parseJournal(text[:cut])
		if err != nil && !errors.Is(err, errNoHeader) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		whole := strings.Count(string(text[:cut]), `"path"`)
		if err == nil && (j.complete || len(j.changes) > whole) {
			t.Errorf("cut at %d: %+v", cut, j)
		}
	}
	// The create died while it announced the last change, which it did not make.
	last := strings.LastIndex(string(text), `{"change"`)
	if err := os.WriteFile(file, text[:last+20], 0o644); err != nil {
		t.Fatal(err)
	}
	k.add("sys/fs/cgroup/taskiso-dpdk/cpuset.cpus.partition", "member")
	if _, err := k.store(t, dir).Recover(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	k.same(t, "after recover", original)
}

// fullFile is a journal on a file system that is full after some lines.
type fullFile struct {
	syncedFile
	left *int
}

func (f fullFile) Write(text []byte) (int, error) {
	if *f.left--; *f.left < 0 {
		n, _ := f.syncedFile.Write(text[:len(text)/2])
		return n, syscall.ENOSPC
	}
	return f.syncedFile.Write(text)
}

func TestJournalFull(t *testing.T) {
	for lines := 0; ; lines++ {
		k, original := guest(t)
		dir := t.TempDir()
		s := k.store(t, dir)
		inner, left := s.create, lines
		s.create = func(path string) (syncedFile, error) {
			f, err := inner(path)
			return fullFile{f, &left}, err
		}
		_, err := s.Create(t.Context(), dpdk)
		if err == nil {
			return
		}
		if !errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), "and then") {
			t.Errorf("after %d lines: %v, want ENOSPC", lines, err)
		}
		k.same(t, "after a full file system", original)
		if names := journalFiles(t, dir); len(names) > 0 {
			t.Errorf("left behind: %v", names)
		}
	}
}

func TestUndoForeign(t *testing.T) {
	k, _ := guest(t)
	dir := t.TempDir()
	create(t, k, dir, dpdk)
	const path = "proc/sys/vm/stat_interval"
	k.add(path, "7")
	mine := k.snapshot()
	drifts, err := verify(t, k, dir, "dpdk")
	if err != nil || len(drifts) != 1 || drifts[0] != (Drift{Path: "/" + path, Before: "1", Want: "120", Got: "7", Suspect: drifts[0].Suspect}) {
		t.Errorf("verify: %v, %v", drifts, err)
	}
	err = k.store(t, dir).Undo(t.Context(), "dpdk", false)
	if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), `/proc/sys/vm/stat_interval: is "7", was set to "120" (before that "1")`) {
		t.Errorf("got %v, want ErrForeign with all three values", err)
	}
	k.same(t, "after a refused undo", mine)
	if err := k.store(t, dir).Undo(t.Context(), "dpdk", true); err != nil {
		t.Fatal(err)
	}
	if got, _ := k.Read("/" + path); got != "1" {
		t.Errorf("after --force it holds %q, want 1", got)
	}
}

// TestUndoGone: a device or CPU that went away takes its settings along.
func TestUndoGone(t *testing.T) {
	k, original := guest(t)
	dir := t.TempDir()
	create(t, k, dir, dpdk)
	for _, m := range []tree{k.tree, original} {
		delete(m, "proc/irq/30/smp_affinity_list")
	}
	if drifts, err := verify(t, k, dir, "dpdk"); err != nil || len(drifts) != 1 {
		t.Errorf("verify: %v, %v, want what is gone", drifts, err)
	}
	if err := k.store(t, dir).Undo(t.Context(), "dpdk", false); err != nil {
		t.Fatal(err)
	}
	k.same(t, "after undo", original)
}

func TestUndoBusy(t *testing.T) {
	k, _ := guest(t)
	dir := t.TempDir()
	create(t, k, dir, dpdk)
	k.add("sys/fs/cgroup/taskiso-dpdk/cgroup.procs", "12\n34")
	mine := k.snapshot()
	if err := k.store(t, dir).Undo(t.Context(), "dpdk", true); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "12, 34") {
		t.Errorf("got %v, want ErrBusy with the processes", err)
	}
	k.same(t, "after a refused undo", mine)
}

// TestInvalidPartition: the kernel takes "isolated" and shows why it is not.
func TestInvalidPartition(t *testing.T) {
	k, original := guest(t)
	dir := t.TempDir()
	const reason = "isolated invalid (Cpu list in cpuset.cpus not exclusive)"
	k.shows = func(_, value string) (string, bool) { return reason, value == "isolated" }
	_, err := k.store(t, dir).Create(t.Context(), dpdk)
	if !errors.Is(err, kernfs.ErrNotTaken) || !strings.Contains(err.Error(), reason) {
		t.Errorf("got %v, want ErrNotTaken with the reason", err)
	}
	k.same(t, "after a failed create", original)

	k.cgroup("svc/container", "1-3", "member")
	before := k.snapshot()
	_, err = k.store(t, dir).Create(t.Context(), dpdk)
	const who = "; /sys/fs/cgroup/svc/container has CPU 2-3 in its cpuset.cpus: take them out there, choose other CPUs, or use --partition none"
	if !errors.Is(err, kernfs.ErrNotTaken) || !strings.HasSuffix(err.Error(), reason+`"`+who) {
		t.Errorf("got %v, want it to end with %q", err, who)
	}
	k.same(t, "after a create that another's CPUs are in the way of", before)
	delete(k.tree, "sys/fs/cgroup/svc/container/cpuset.cpus")
	delete(k.tree, "sys/fs/cgroup/svc/container/cpuset.cpus.partition")

	k.shows = nil
	create(t, k, dir, dpdk)
	k.add("sys/fs/cgroup/taskiso-dpdk/cpuset.cpus.partition", reason)
	if drifts, err := verify(t, k, dir, "dpdk"); err != nil || len(drifts) != 1 || drifts[0].Got != reason {
		t.Errorf("verify: %v, %v, want the reason", drifts, err)
	}
	if err := k.store(t, dir).Undo(t.Context(), "dpdk", false); err != nil {
		t.Error(err)
	}
	k.same(t, "after undo", original)
}

// TestNotTaken: a value that the kernel makes another one of is no success, and
// what it made of it is put back.
func TestNotTaken(t *testing.T) {
	k, original := guest(t)
	dir := t.TempDir()
	k.shows = func(path, value string) (string, bool) {
		return "100", path == "/proc/sys/vm/stat_interval" && value == "120"
	}
	if _, err := k.store(t, dir).Create(t.Context(), dpdk); !errors.Is(err, kernfs.ErrNotTaken) || strings.Contains(err.Error(), "and then") {
		t.Errorf("got %v, want ErrNotTaken, and all undone", err)
	}
	k.same(t, "after a failed create", original)
}

// TestNoPartitionOfBootIsolated: a kernel that makes no partition of CPUs isolated at boot leaves a plain cgroup; all else is
// as wanted. The same answer for other CPUs is an error.
func TestNoPartitionOfBootIsolated(t *testing.T) {
	kind := Cgroup("dpdk") + "/cpuset.cpus.partition"
	for _, isolated := range []bool{true, false} {
		k, original := guest(t)
		dir := t.TempDir()
		if isolated {
			k.add("sys/devices/system/cpu/isolated", "2-3")
			k.add("proc/cmdline", "isolcpus=domain,managed_irq,2-3")
			original = k.snapshot()
		}
		k.shows = func(path, value string) (string, bool) {
			return "isolated invalid (partition config conflicts with housekeeping setup)", path == kind && value == "isolated"
		}
		created, err := k.store(t, dir).Create(t.Context(), dpdk)
		if !isolated {
			if !errors.Is(err, kernfs.ErrNotTaken) {
				t.Errorf("got %v, want ErrNotTaken", err)
			}
			k.same(t, "after a failed create", original)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(created.Refused) != 1 || created.Refused[0].Path != kind || created.kind() != None {
			t.Errorf("refused %v, kind %s", created.Refused, created.kind())
		}
		if got, err := k.Read(kind); err != nil || got != "member" {
			t.Errorf("the cgroup is %q, %v, want a member", got, err)
		}
		if drifts, err := verify(t, k, dir, "dpdk"); err != nil || len(drifts) > 0 {
			t.Errorf("verify: %v, %v", drifts, err)
		}
		if err := k.store(t, dir).Undo(t.Context(), "dpdk", false); err != nil {
			t.Fatal(err)
		}
		k.same(t, "after undo", original)
	}
}

// TestUnmovableInterrupt: older kernels say only by refusing that an
// interrupt cannot be moved.
func TestUnmovableInterrupt(t *testing.T) {
	k, original := guest(t)
	dir := t.TempDir()
	k.before = func(_ int, path, _ string) error {
		if path == "/proc/irq/30/smp_affinity_list" {
			return syscall.EIO
		}
		return nil
	}
	created := create(t, k, dir, dpdk)
	if len(created.Refused) != 1 || created.Refused[0].Path != "/proc/irq/30/smp_affinity_list" {
		t.Errorf("refused: %v, want IRQ 30", created.Refused)
	}
	if drifts, err := verify(t, k, dir, "dpdk"); err != nil || len(drifts) > 0 {
		t.Errorf("verify: %v, %v", drifts, err)
	}
	if err := k.store(t, dir).Undo(t.Context(), "dpdk", false); err != nil {
		t.Fatal(err)
	}
	k.same(t, "after undo", original)
}

func TestCreateRefuses(t *testing.T) {
	k, _ := guest(t)
	dir := t.TempDir()
	create(t, k, dir, Spec{Name: "one", CPUs: "3"})
	for _, test := range []struct {
		spec Spec
		want error
	}{
		{Spec{Name: "one", CPUs: "2"}, ErrExists},
		{Spec{Name: "two", CPUs: "2-3"}, ErrOverlap},
		{Spec{Name: "two", CPUs: "2", Housekeeping: "0,3"}, ErrSpec},
		{Spec{Name: "two", CPUs: "0-2"}, ErrSpec},
		{Spec{Name: "two", CPUs: "0-3"}, ErrSpec},
		{Spec{Name: "two", CPUs: "2", Require: []string{"cpufreq"}}, ErrRequired},
	} {
		before := k.snapshot()
		if _, err := k.store(t, dir).Create(t.Context(), test.spec); !errors.Is(err, test.want) {
			t.Errorf("%+v: %v, want %v", test.spec, err, test.want)
		}
		k.same(t, "after a refused create", before)
	}
	for _, name := range []string{"none", "../lock", ""} {
		if err := k.store(t, dir).Undo(t.Context(), name, true); !errors.Is(err, ErrNoPartition) {
			t.Errorf("undo of %q: %v, want ErrNoPartition", name, err)
		}
	}
}

// TestTwo: a second partition leaves the CPUs of the first alone, and is undone
// before it.
func TestTwo(t *testing.T) {
	k, original := guest(t)
	dir := t.TempDir()
	create(t, k, dir, Spec{Name: "one", CPUs: "3"})
	two := create(t, k, dir, Spec{Name: "two", CPUs: "2"})
	if got := two.Plan.Housekeeping.String(); got != "0-1" {
		t.Errorf("housekeeping on CPU %s, want 0-1", got)
	}
	mine := k.snapshot()
	if err := k.store(t, dir).Undo(t.Context(), "one", true); !errors.Is(err, ErrLater) || !strings.Contains(err.Error(), ": two, which is to be undone first") {
		t.Errorf("undoing the first: %v, want ErrLater", err)
	}
	k.same(t, "after a refused undo", mine)
	for _, name := range []string{"two", "one"} {
		if err := k.store(t, dir).Undo(t.Context(), name, false); err != nil {
			t.Error(err)
		}
	}
	k.same(t, "after undo", original)
}

func TestLock(t *testing.T) {
	k, _ := guest(t)
	dir := t.TempDir()
	unlock, err := k.store(t, dir).lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	other, done := k.store(t, dir), make(chan error)
	go func() {
		_, err := other.Create(t.Context(), dpdk)
		done <- err
	}()
	select {
	case err := <-done:
		t.Errorf("create did not wait for the lock: %v", err)
	case <-time.After(50 * time.Millisecond):
		unlock()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestCreateTogether: of two creates for the same CPUs one wins.
func TestCreateTogether(t *testing.T) {
	k, _ := guest(t)
	dir := t.TempDir()
	stores := []*Store{k.store(t, dir), k.store(t, dir)}
	errs := make([]error, 2)
	var both sync.WaitGroup
	for i, name := range []string{"one", "two"} {
		both.Go(func() { _, errs[i] = stores[i].Create(t.Context(), Spec{Name: name, CPUs: "2-3"}) })
	}
	both.Wait()
	if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs...), ErrOverlap) {
		t.Errorf("got %v, want one success and one ErrOverlap", errs)
	}
}

func TestBooted(t *testing.T) {
	k, _ := guest(t)
	dir := t.TempDir()
	create(t, k, dir, dpdk)
	rebooted := newKernel(t, loadTree(t, "guest-4cpu"))
	rebooted.add("proc/sys/kernel/random/boot_id", "boot-2")
	rebooted.add("sys/kernel/mm/ksm/run", "0")      // as the partition had it, but set at boot
	rebooted.add("proc/sys/vm/stat_interval", "30") // and as nobody had it
	fresh := rebooted.snapshot()
	if _, err := verify(t, rebooted, dir, "dpdk"); !errors.Is(err, ErrBooted) {
		t.Errorf("verify: %v, want ErrBooted", err)
	}
	if gone, err := rebooted.store(t, dir).Recover(t.Context(), false); err != nil || len(gone) != 1 {
		t.Errorf("recover: %v, %v", gone, err)
	}
	rebooted.same(t, "after a boot", fresh)
	if left := journalFiles(t, dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestRecoverLeavesComplete(t *testing.T) {
	k, _ := guest(t)
	dir := t.TempDir()
	create(t, k, dir, dpdk)
	mine := k.snapshot()
	if gone, err := k.store(t, dir).Recover(t.Context(), false); err != nil || len(gone) != 0 {
		t.Errorf("recover: %v, %v, want nothing done", gone, err)
	}
	k.same(t, "after recover", mine)
}

// TestRivals: create warns of programs that will move interrupts back.
func TestRivals(t *testing.T) {
	k, _ := guest(t)
	k.add("proc/812/comm", "irqbalance")
	created := create(t, k, t.TempDir(), dpdk)
	if got := strings.Join(created.Plan.Warnings, "\n"); !strings.Contains(got, "irqbalance (process 812)") || !strings.Contains(got, "IRQBALANCE_BANNED_CPULIST=2-3") {
		t.Errorf("warnings:\n%s", got)
	}
}

// TestSuspects: a drift is put down to who runs and is known for it.
func TestSuspects(t *testing.T) {
	for _, test := range []struct {
		path, got, running, want string
	}{
		{"/proc/irq/30/smp_affinity_list", "3", "irqbalance", "probably irqbalance (process 9)"},
		{"/proc/irq/30/smp_affinity_list", "3", "tuned", "probably tuned (process 9)"},
		{"/proc/irq/30/smp_affinity_list", "3", "sleep", "nobody runs that is known"},
		{"/proc/irq/30/smp_affinity_list", "", "irqbalance", "the device is gone"},
		{"/sys/fs/cgroup/cgroup.subtree_control", "memory", "systemd", "probably systemd (process 9)"},
		{"/sys/fs/cgroup/taskiso-x/cpuset.cpus.partition", "isolated invalid (why)", "systemd", "the kernel itself"},
		{"/sys/devices/system/cpu/cpu2/cpufreq/scaling_governor", "powersave", "tlp", "probably tlp"},
	} {
		got := guess(Drift{Path: test.path, Got: test.got}, map[string]int{test.running: 9})
		if !strings.HasPrefix(got, test.want) {
			t.Errorf("%s with %s running: %q, want %q", test.path, test.running, got, test.want)
		}
	}
}

// TestThreads: threads that may use the CPUs are moved one by one where there is
// no cpuset, and put back; one that somebody moved since is left alone.
func TestThreads(t *testing.T) {
	k, _ := guest(t)
	k.thread(41, "0-3")
	k.thread(42, "1,3")
	k.thread(43, "3")
	k.thread(44, "0-3")
	original := k.snapshot()
	dir := t.TempDir()
	create(t, k, dir, Spec{Name: "dpdk", CPUs: "2-3", Partition: None})
	allowed := func(tid int) string {
		th, err := thread.Read(k.files(t), fmt.Sprintf("proc/%d/task/%[1]d", tid))
		if err != nil {
			t.Fatal(err)
		}
		return th.Allowed.String()
	}
	if got := []string{allowed(41), allowed(42), allowed(43)}; !slices.Equal(got, []string{"0-1", "1", "3"}) {
		t.Errorf("moved to %v", got)
	}
	k.thread(44, "0")
	original["proc/44/task/44/status"] = k.tree["proc/44/task/44/status"]
	if err := k.store(t, dir).Undo(t.Context(), "dpdk", false); err != nil {
		t.Fatal(err)
	}
	k.same(t, "after undo", original)
}

// Kernel threads that began while a partition was there have the CPUs that it left to kthreadd, and get those back with
// it. Whatever was there before, has other CPUs, or is a program is left alone.
func TestKernelThreadsThatBeganSince(t *testing.T) {
	k, _ := guest(t)
	k.kernelThread(2, "0-3")
	k.kernelThread(41, "0-1") // somebody's choice, before
	k.thread(42, "0-3")
	dir := t.TempDir()
	create(t, k, dir, Spec{Name: "dpdk", CPUs: "2-3", Partition: None})
	k.kernelThread(50, "0-1")
	k.kernelThread(51, "0")
	k.thread(52, "0-1")
	if err := k.store(t, dir).Undo(t.Context(), "dpdk", false); err != nil {
		t.Fatal(err)
	}
	for tid, want := range map[int]string{2: "0-3", 41: "0-1", 42: "0-3", 50: "0-3", 51: "0", 52: "0-1"} {
		th, err := thread.Read(k.files(t), fmt.Sprintf("proc/%d/task/%[1]d", tid))
		if err != nil || th.Allowed.String() != want {
			t.Errorf("thread %d is on CPU %v, %v; want %s", tid, th.Allowed, err, want)
		}
	}
}
