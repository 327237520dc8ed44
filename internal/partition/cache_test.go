// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"io/fs"
	"maps"
	"strings"
	"testing"
)

func cacheServer(t *testing.T) *kernel {
	t.Helper()
	m := withCache(server(64, 4), 64)
	for path := range m {
		if strings.Contains(path, "irqbalance") {
			delete(m, path)
		}
	}
	return newKernel(t, m)
}

// cacheOf plans the setting. Who asks for ways that cannot be had is refused.
func cacheOf(t *testing.T, k *kernel, spec Spec) *Setting {
	t.Helper()
	p, err := New(spec, k.files(t))
	if p == nil {
		t.Fatal(err)
	}
	s := p.setting(cacheSetting)
	if impossible := s.State == Lacking || s.State == Unknown; impossible != errors.Is(err, ErrRequired) || err != nil && !impossible {
		t.Errorf("%d ways, %s: %v", spec.CacheWays, s.State, err)
	}
	return s
}

// TestCache: the isolated CPUs have the ways, the default group has not, also while
// another cache stays as it is; and undo leaves nothing.
func TestCache(t *testing.T) {
	k := cacheServer(t)
	k.add("sys/fs/resctrl/other/schemata", "    MB:0=100;1=100\n    L3:0=f0000;1=fffff")
	k.add("sys/fs/resctrl/other/cpus_list", "63")
	start, dir := k.snapshot(), t.TempDir()
	create(t, k, dir, Spec{Name: "dpdk", CPUs: "2-3", CacheWays: 4})
	for file, want := range map[string]string{
		"/schemata":               "    MB:0=100;1=100\n    L3:0=ffff0;1=fffff",
		"/taskiso-dpdk/schemata":  "    MB:0=100;1=100\n    L3:0=0000f;1=fffff",
		"/taskiso-dpdk/cpus_list": "2-3",
	} {
		if got, err := k.Read(resctrlRoot + file); err != nil || got != want {
			t.Errorf("%s holds %q, %v, want %q", file, got, err, want)
		}
	}
	if drifts, err := verify(t, k, dir, "dpdk"); err != nil || len(drifts) > 0 {
		t.Errorf("verify: %v, %v", drifts, err)
	}
	k.add("sys/fs/resctrl/schemata", "    MB:0=100;1=100\n    L3:0=fffff;1=fffff")
	if drifts, err := verify(t, k, dir, "dpdk"); err != nil || len(drifts) != 1 || drifts[0].Got != "L3:0=fffff" || drifts[0].Want != "L3:0=ffff0" {
		t.Errorf("ways given back by somebody: %v, %v", drifts, err)
	}
	k.add("sys/fs/resctrl/schemata", "    MB:0=100;1=100\n    L3:0=ff000;1=fffff")
	if err := k.store(t, dir).Undo(t.Context(), "dpdk", false); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), `is "L3:0=ff000"`) {
		t.Errorf("undo of what somebody changed: %v", err)
	}
	k.add("sys/fs/resctrl/taskiso-dpdk/tasks", "77") // these go to the default group
	if err := k.store(t, dir).Undo(t.Context(), "dpdk", true); err != nil {
		t.Error(err)
	}
	k.same(t, "after undo", start)
}

// TestCacheKilled: as for other settings.
func TestCacheKilled(t *testing.T) {
	for n := 1; ; n++ {
		k := cacheServer(t)
		start, dir := k.snapshot(), t.TempDir()
		k.killAt(n, true)
		spec := Spec{Name: "dpdk", CPUs: "2,33", CacheWays: 1, Partition: None, Skip: []string{"irq-affinity", "rps", "cpufreq", "fair-server", "pm-qos"}}
		if !kill(func() { create(t, k, dir, spec) }) {
			break
		}
		k.unharmed()
		if _, err := k.store(t, dir).Recover(t.Context(), false); err != nil {
			t.Fatalf("killed after change %d: %v", n, err)
		}
		k.same(t, "after recover", start)
	}
}

func TestCacheIsLeft(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*kernel)
		ways   int
		state  State
		reason string
	}{
		{"not asked for", nil, 0, Left, "--cache-ways N"},
		{"no hardware", func(k *kernel) { maps.DeleteFunc(k.tree, under("sys/fs/resctrl/")) }, 4, Lacking, "no /sys/fs/resctrl"},
		{"not mounted", func(k *kernel) {
			maps.DeleteFunc(k.tree, under("sys/fs/resctrl/"))
			k.tree["sys/fs/resctrl/"] = treeFile{"", fs.ModeDir | 0o755}
		}, 4, Lacking, "mount -t resctrl"},
		{"bandwidth only", func(k *kernel) { maps.DeleteFunc(k.tree, under("sys/fs/resctrl/info/L3/")) }, 4, Lacking, "cannot be divided"},
		{"all ways that devices leave", nil, 18, Changes, ""},
		{"too many", nil, 19, Lacking, "19 ways of L3 are not possible: it has 20, devices fill 2 of them too"},
		{"fewer than a group has", func(k *kernel) { k.add("sys/fs/resctrl/info/L3/min_cbm_bits", "2") }, 1, Lacking, "at least 2"},
		{"all that is left", func(k *kernel) { k.add("sys/fs/resctrl/schemata", "L3:0=f;1=f") }, 4, Lacking, "cannot be taken from the default group"},
		{"a hole", func(k *kernel) { k.add("sys/fs/resctrl/info/L3/shareable_bits", "2") }, 2, Lacking, "not possible"},
		{"a hole that may be", func(k *kernel) {
			k.add("sys/fs/resctrl/info/L3/shareable_bits", "2")
			k.add("sys/fs/resctrl/info/L3/sparse_masks", "1")
		}, 2, Changes, ""},
		{"ways of others", func(k *kernel) {
			k.add("sys/fs/resctrl/other/schemata", "L3:0=3;1=fffff")
			k.add("sys/fs/resctrl/other/cpus_list", "")
		}, 2, Lacking, "the group /sys/fs/resctrl/other has some"},
		{"CPUs of others", func(k *kernel) {
			k.add("sys/fs/resctrl/other/schemata", "L3:0=f0000;1=fffff")
			k.add("sys/fs/resctrl/other/cpus_list", "3-5")
		}, 2, Lacking, "CPU 3 are in the group"},
		{"unreadable", func(k *kernel) { k.add("sys/fs/resctrl/schemata", "L3:0=xyz") }, 2, Unknown, "/sys/fs/resctrl/schemata"},
	} {
		k := cacheServer(t)
		if test.change != nil {
			test.change(k)
		}
		s := cacheOf(t, k, Spec{CPUs: "2-3", CacheWays: test.ways})
		if s.State != test.state || !strings.Contains(s.Reason, test.reason) {
			t.Errorf("%s: %s, %q; want %s, %q", test.name, s.State, s.Reason, test.state, test.reason)
		}
	}
}

func under(prefix string) func(string, treeFile) bool {
	return func(path string, _ treeFile) bool { return strings.HasPrefix(path, prefix) }
}

// TestCacheCodeAndData: with code and data prioritization both are divided.
func TestCacheCodeAndData(t *testing.T) {
	k := cacheServer(t)
	for _, name := range []string{"L3CODE", "L3DATA"} {
		for file, content := range k.snapshot() {
			if rest, ok := strings.CutPrefix(file, "sys/fs/resctrl/info/L3/"); ok {
				k.tree["sys/fs/resctrl/info/"+name+"/"+rest] = content
			}
		}
	}
	maps.DeleteFunc(k.tree, under("sys/fs/resctrl/info/L3/"))
	k.add("sys/fs/resctrl/schemata", "    L3DATA:0=fffff;1=fffff\n    L3CODE:0=fffff;1=fffff\n        MB:0=100;1=100")
	start, dir := k.snapshot(), t.TempDir()
	create(t, k, dir, Spec{Name: "dpdk", CPUs: "2", CacheWays: 3})
	want := "    L3DATA:0=ffff8;1=fffff\n    L3CODE:0=ffff8;1=fffff\n        MB:0=100;1=100"
	if got, err := k.Read(resctrlRoot + "/schemata"); err != nil || got != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if err := k.store(t, dir).Undo(t.Context(), "dpdk", false); err != nil {
		t.Error(err)
	}
	k.same(t, "after undo", start)
}
