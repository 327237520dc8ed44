// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/partition/thread"
)

// cgroup adds one with CPUs; kind is that of its partition.
func (k *kernel) cgroup(dir, cpus, kind string) {
	k.add("sys/fs/cgroup/"+dir+"/cpuset.cpus", cpus)
	k.add("sys/fs/cgroup/"+dir+"/cpuset.cpus.partition", kind)
}

// TestCreateSparesOwners: CPUs of another's partition are refused before anything is
// written, by the name of the innermost owner, and with no partition nothing is taken.
func TestCreateSparesOwners(t *testing.T) {
	for _, test := range []struct {
		name string
		add  func(*kernel)
		want string
	}{
		{"beside it", func(k *kernel) { k.cgroup("lpm", "2-3", "isolated") }, "CPU 2-3: " + ErrOwned.Error() + ": /sys/fs/cgroup/lpm (cpuset partition, isolated)"},
		{"below a slice", func(k *kernel) {
			k.cgroup("machine.slice", "1-3", "root")
			k.cgroup("machine.slice/machine-rt.slice", "3", "isolated")
		}, "/sys/fs/cgroup/machine.slice (cpuset partition, root)"},
		{"deep", func(k *kernel) {
			k.cgroup("a/b/c/d", "2-3", "isolated")
		}, "/sys/fs/cgroup/a/b/c/d (cpuset partition, isolated)"},
		{"a list in a partition", func(k *kernel) {
			k.cgroup("a", "2-3", "isolated")
			k.cgroup("a/b", "2-3", "member")
		}, "/sys/fs/cgroup/a/b, below /sys/fs/cgroup/a (cpuset partition, isolated)"},
		{"a hostile name", func(k *kernel) { k.cgroup("x\n\x1b[2J", "2-3", "isolated") }, `/sys/fs/cgroup/x\n`},
	} {
		t.Run(test.name, func(t *testing.T) {
			k, _ := guest(t)
			test.add(k)
			before, dir := k.snapshot(), t.TempDir()
			_, err := k.store(t, dir).Create(t.Context(), dpdk)
			if !errors.Is(err, ErrOwned) || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %q", err, test.want)
			}
			k.same(t, "after a refused create", before)
			if k.calls != 0 || len(journalFiles(t, dir)) != 0 {
				t.Errorf("%d writes, journals %q, want none", k.calls, journalFiles(t, dir))
			}
			plan, planErr := New(dpdk, k.files(t))
			if planErr != nil || !strings.HasSuffix(err.Error(), plan.Refused) || !strings.Contains(plan.Refused, test.want) {
				t.Errorf("plan: %v, refused by %q; create by %v", planErr, plan.Refused, err)
			}
			if writes := plan.All(); len(writes) > 0 || plan.setting("stat-interval").State != Refused || !strings.Contains(plan.summary(), "0 writes for 0 settings") {
				t.Errorf("the plan has %d writes, stat-interval %s: %s", len(writes), plan.setting("stat-interval").State, plan.summary())
			}
			g, err := NewGrade(dpdk, k.files(t))
			if err != nil || !strings.Contains(g.summary(), `end with "taskiso partition create --partition none",`) {
				t.Errorf("doctor: %v, %s", err, g.summary())
			}
			spec := dpdk
			spec.Partition = None
			create(t, k, dir, spec)
		})
	}
}

// TestPlanHasWhatCreateRefuses: also because of one setting that cannot be written, of a partition of the same name,
// and of one that has the CPUs.
func TestPlanHasWhatCreateRefuses(t *testing.T) {
	same := dpdk
	same.CPUs = "1"
	other := dpdk
	other.Name = "other"
	for _, test := range []struct {
		name string
		spec Spec
		add  func(*kernel, string)
		want string
	}{
		{"nothing in the way", dpdk, func(*kernel, string) {}, ""},
		{"one file system is read-only", dpdk, func(k *kernel, _ string) {
			k.add("proc/mounts", "proc /proc/sys proc ro 0 0")
		}, "some settings are on a read-only file system (usual in a container), in /proc/sys; make"},
		{"the name is taken", same, func(k *kernel, dir string) { create(t, k, dir, dpdk) }, ErrExists.Error()},
		{"the CPUs are taken", other, func(k *kernel, dir string) {
			spec := dpdk
			spec.Partition = None
			create(t, k, dir, spec)
		}, ErrOverlap.Error()},
	} {
		t.Run(test.name, func(t *testing.T) {
			k, _ := guest(t)
			dir := t.TempDir()
			test.add(k, dir)
			before := k.snapshot()
			plan, err := k.store(t, dir).Plan(test.spec)
			if err != nil || !strings.Contains(plan.Refused, test.want) || (plan.Refused == "") != (test.want == "") {
				t.Fatalf("refused by %q, %v; want %q", plan.Refused, err, test.want)
			}
			k.same(t, "after a plan", before)
			if len(plan.All()) > 0 == (test.want != "") {
				t.Errorf("%d writes", len(plan.All()))
			}
			if _, err := k.store(t, dir).Create(t.Context(), test.spec); (err != nil) != (test.want != "") || err != nil && !strings.HasSuffix(err.Error(), plan.Refused) {
				t.Errorf("create: %v; the plan: %q", err, plan.Refused)
			}
		})
	}
}

// TestOwnersInV1: there each cgroup has a list, and only one that is not its parent's says something.
func TestOwnersInV1(t *testing.T) {
	k := newKernel(t, tree{})
	for dir, cpus := range map[string]string{"": "0-7", "/docker": "0-7", "/docker/abc": "0-7", "/machine": "4-7", "/machine/rt": "6-7"} {
		k.add("sys/fs/cgroup/cpuset"+dir+"/cpuset.cpus", cpus)
	}
	cpus, err := cpulist.ParseSysfs("6-7")
	if err != nil {
		t.Fatal(err)
	}
	owners, err := Owners(k.files(t), cpus)
	if err != nil || len(owners) != 1 || owners[0].Dir != "/sys/fs/cgroup/cpuset/machine/rt" {
		t.Errorf("%v, %v; want the innermost", owners, err)
	}
}

// TestOwnersBounded: who may make cgroups cannot make a plan go on for ever, nor hide an outer owner.
func TestOwnersBounded(t *testing.T) {
	k, _ := guest(t)
	deep := "deep"
	for range 2 * cgroupDepth {
		deep += "/x"
	}
	k.cgroup(deep, "2", "member")
	k.cgroup("lpm", "2-3", "isolated")
	plan, err := New(dpdk, k.files(t))
	if err != nil {
		t.Fatal(err)
	}
	warnings := strings.Join(plan.Warnings, "\n")
	if !strings.Contains(plan.Refused, "/sys/fs/cgroup/lpm") || !strings.Contains(warnings, "not all owners are known") {
		t.Errorf("refused by %q; warnings:\n%s", plan.Refused, warnings)
	}
	var archive bytes.Buffer
	if unread, err := Capture(&archive, k.files(t)); err != nil || !strings.Contains(fmt.Sprint(unread), "below what was read") {
		t.Errorf("capture: %q, %v; want a word on what was not read", unread, err)
	}
}

// TestVerifyNamesTheLastChange: why a partition is invalid, or has other CPUs, in words.
func TestVerifyNamesTheLastChange(t *testing.T) {
	k, _ := guest(t)
	dir := t.TempDir()
	create(t, k, dir, dpdk)
	k.add("sys/fs/cgroup/taskiso-dpdk/cpuset.cpus.partition", "isolated invalid")
	k.cgroup("lpm", "2-3", "isolated")
	v, err := k.store(t, dir).Verify(t.Context(), "dpdk")
	const want = "the kernel itself, which gives no reason; /sys/fs/cgroup/lpm (cpuset partition, isolated) wants CPU 2-3 for a partition of its own"
	if err != nil || len(v.Drifts) != 1 || v.Drifts[0].Suspect != want {
		t.Errorf("%+v, %v; want %q", v, err, want)
	}
	got := guess(Drift{Path: "/sys/fs/cgroup/taskiso_x.slice", Got: "2-3"}, map[string]int{"systemd": 1})
	if !strings.Contains(got, "systemctl set-property taskiso_x.slice AllowedCPUs=") {
		t.Errorf("a slice with other CPUs: %q", got)
	}
}

// TestLater: what the kernel does by itself when an interrupt next occurs is no failure, and which of interrupt and
// handler is the reason is said.
func TestLater(t *testing.T) {
	k, _ := guest(t)
	dir := t.TempDir()
	create(t, k, dir, dpdk)
	k.add("proc/irq/30/effective_affinity_list", "3")
	k.add("sys/kernel/irq/30/actions", "eth0-rx")
	worker(k, 70, "irq/30-eth0-rx", "3")
	v, err := k.store(t, dir).Verify(t.Context(), "dpdk")
	if err != nil || !v.OK() || len(v.Missed) != 2 {
		t.Fatalf("%+v, %v; want two effects to come", v, err)
	}
	var b strings.Builder
	if err := v.WriteText(&b); err != nil || strings.Contains(b.String(), "no effect") ||
		!strings.Contains(b.String(), "later     irq-affinity     IRQ 30 still goes to CPU 3") ||
		!strings.Contains(b.String(), "it handles IRQ 30, whose affinity it takes when that next occurs") {
		t.Errorf("%v:\n%s", err, b.String())
	}
	k.add("proc/irq/30/smp_affinity_list", "3")
	v, err = k.store(t, dir).Verify(t.Context(), "dpdk")
	if err != nil || v.OK() || !strings.Contains(fmt.Sprint(v.Missed), "it follows IRQ 30, which was not moved") {
		t.Errorf("%+v, %v; want no effect", v, err)
	}
}

// TestAffinityIsKept: older kernels forget what a thread had asked for; create asks again, and verify finds it forgotten.
func TestAffinityIsKept(t *testing.T) {
	k, _ := guest(t)
	k.add("proc/71/task/71/cgroup", "0::/svc\n")
	k.cgroup("svc", "", "member")
	k.add("sys/fs/cgroup/svc/cpuset.cpus.effective", "0-1")
	k.thread(71, "0")
	k.after = func(_ int, path string) {
		if strings.HasSuffix(path, "cpuset.cpus.partition") {
			k.thread(71, "0-1")
		}
	}
	dir := t.TempDir()
	create(t, k, dir, dpdk)
	if th, err := thread.Read(k.files(t), "proc/71/task/71"); err != nil || th.Allowed.String() != "0" {
		t.Errorf("after create: CPU %v, want 0; %v", th.Allowed, err)
	}
	k.thread(71, "0-1")
	v, err := k.store(t, dir).Verify(t.Context(), "dpdk")
	if err != nil || v.OK() || !strings.Contains(fmt.Sprint(v.Missed), "had CPU 0 to itself and may run on CPU 0-1 now") {
		t.Errorf("%+v, %v; want the thread", v, err)
	}
}
