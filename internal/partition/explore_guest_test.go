package partition

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/taskiso/taskiso/internal/kernfs"
)

func exploreSnap(t *testing.T) map[string]string {
	m := map[string]string{}
	add := func(p string) {
		b, err := os.ReadFile(p)
		if err != nil {
			m[p] = "ERR " + err.Error()
			return
		}
		m[p] = string(b)
	}
	files := os.DirFS("/")
	for _, pat := range append(captured, "proc/irq/*/effective_affinity_list", "sys/devices/virtual/workqueue/*", "sys/fs/cgroup/cpuset*", "sys/fs/cgroup/*", "sys/devices/system/cpu/*") {
		ps, _ := fs.Glob(files, pat)
		for _, p := range ps {
			if st, err := os.Stat("/" + p); err == nil && !st.IsDir() && !strings.Contains(p, "stat") && !strings.Contains(p, "pressure") {
				add("/" + p)
			}
		}
	}
	tasks, _ := filepath.Glob("/proc/[0-9]*/task/[0-9]*/status")
	for _, p := range tasks {
		b, _ := os.ReadFile(p)
		name, aff := "", ""
		for l := range strings.Lines(string(b)) {
			if n, ok := strings.CutPrefix(l, "Name:"); ok {
				name = strings.TrimSpace(n)
			}
			if n, ok := strings.CutPrefix(l, "Cpus_allowed_list:"); ok {
				aff = strings.TrimSpace(n)
			}
		}
		m[p+" "+name] = aff
	}
	return m
}

func exploreDiff(t *testing.T, what string, a, b map[string]string) {
	keys := map[string]bool{}
	for k := range a {
		keys[k] = true
	}
	for k := range b {
		keys[k] = true
	}
	var l []string
	for k := range keys {
		l = append(l, k)
	}
	sort.Strings(l)
	for _, k := range l {
		if a[k] != b[k] {
			t.Logf("%s: %s: %q -> %q", what, k, a[k], b[k])
		}
	}
}

func TestGuestExplore(t *testing.T) {
	files, err := kernfs.OpenWritable("/")
	if err != nil {
		t.Fatal(err)
	}
	s := NewStore(t.TempDir(), files, files.View())
	a := exploreSnap(t)
	for k, v := range a {
		if strings.HasPrefix(k, "/proc/irq") || strings.HasPrefix(k, "/proc/1/") {
			t.Log(k, v)
		}
	}
	b := exploreSnap(t)
	exploreDiff(t, "nothing", a, b)
	for _, spec := range []Spec{{CPUs: "2-3"}, {CPUs: "2-3", Partition: None}, {CPUs: "2-3", Partition: Root}} {
		c, err := s.Create(t.Context(), spec)
		if err != nil {
			p, _ := New(spec, files.View())
			x, _ := json.MarshalIndent(p, "", " ")
			t.Log(string(x))
			t.Error(err)
			continue
		}
		var sb strings.Builder
		c.Plan.WriteText(&sb)
		t.Log(sb.String())
		t.Log("refused", c.Refused)
		mid := exploreSnap(t)
		exploreDiff(t, "created "+spec.Partition, a, mid)
		d, err := s.Verify(t.Context(), "default")
		t.Log("verify", d, err)
		if err := s.Undo(t.Context(), "default", false); err != nil {
			t.Error(err)
		}
		exploreDiff(t, "undone "+spec.Partition, a, exploreSnap(t))
	}
}
