// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/taskiso/taskiso/internal/kernfs"
)

// tree is a machine: the files a plan reads, by path without leading slash. A
// path that ends in a slash is a directory.
type tree map[string]treeFile

type treeFile struct {
	text string
	mode fs.FileMode
}

func (m tree) add(path, text string) { m[path] = treeFile{text + "\n", 0o644} }

// loadTree reads testdata/NAME.tree: "-- path --" or "-- path mode --", and the
// content below. Lines before the first of these are a comment.
func loadTree(t testing.TB, name string) tree {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".tree"))
	if err != nil {
		t.Fatal(err)
	}
	m := tree{}
	path, mode := "", fs.FileMode(0o644)
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if n := len(fields); (n == 3 || n == 4) && fields[0] == "--" && fields[n-1] == "--" {
			path, mode = fields[1], 0o644
			if n == 4 {
				bits, err := strconv.ParseUint(fields[2], 8, 9)
				if err != nil {
					t.Fatalf("%s: mode of %s: %v", name, path, err)
				}
				mode = fs.FileMode(bits)
			}
			if strings.HasSuffix(path, "/") {
				mode |= fs.ModeDir
			}
			m[path] = treeFile{"", mode}
		} else if path != "" {
			m[path] = treeFile{m[path].text + line, mode}
		}
	}
	return m
}

// write puts the machine below a new directory.
func (m tree) write(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for path, file := range m {
		full := filepath.Join(dir, path)
		parent := filepath.Dir(full)
		if strings.HasSuffix(path, "/") {
			parent = full
		}
		if err := os.MkdirAll(parent, 0o755); err != nil {
			t.Fatal(err)
		}
		if parent == full {
			continue
		}
		if err := os.WriteFile(full, []byte(file.text), file.mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func view(t testing.TB, dir string) fs.FS {
	t.Helper()
	files, err := kernfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = files.Close() })
	return files.View()
}

// files returns the machine as a file system in memory: to write thousands of
// files to a disk takes long. A zip archive is one, with modes.
func (m tree) files(t testing.TB) fs.FS {
	t.Helper()
	var b bytes.Buffer
	archive := zip.NewWriter(&b)
	for path, file := range m {
		header := &zip.FileHeader{Name: path, Method: zip.Store}
		header.SetMode(file.mode)
		w, err := archive.CreateHeader(header)
		if err == nil && !strings.HasSuffix(path, "/") {
			_, err = w.Write([]byte(file.text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// server is a machine made up after the sysfs of x86 servers with SMT: the
// second threads of all cores have the upper half of the numbers.
func server(cpus, irqs int) tree {
	m := tree{}
	all := fmt.Sprintf("0-%d", cpus-1)
	mask := strings.TrimSuffix(strings.Repeat("ffffffff,", cpus/32), ",")
	m.add("proc/cmdline", "BOOT_IMAGE=/vmlinuz root=/dev/sda1 ro quiet")
	m.add("proc/mounts", "sysfs /sys sysfs rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0")
	m.add("proc/irq/default_smp_affinity", mask)
	for n := range irqs {
		path := fmt.Sprintf("proc/irq/%d/smp_affinity_list", n)
		switch {
		case n%8 == 7: // a queue of an NVMe drive: managed, for one core
			m[path] = treeFile{fmt.Sprintf("%d\n", n%cpus), 0o444}
		case n%2 == 0:
			m.add(path, all)
		default:
			m.add(path, strconv.Itoa(n*3%cpus))
		}
	}
	for name, value := range map[string]string{
		"proc/sys/kernel/numa_balancing": "1", "proc/sys/kernel/sched_rt_runtime_us": "950000",
		"proc/sys/kernel/printk": "4\t4\t1\t7", "proc/sys/kernel/timer_migration": "1", "proc/sys/kernel/watchdog": "1", "proc/sys/kernel/watchdog_cpumask": all,
		"proc/sys/net/core/rps_default_mask": "0", "proc/sys/net/core/skb_defer_max": "64", "proc/sys/vm/stat_interval": "1",
		"sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc",
		"sys/devices/system/cpu/isolated":                                 "",
		"sys/devices/system/cpu/nohz_full":                                "(null)",
		"sys/devices/system/cpu/online":                                   all,
		"sys/devices/system/cpu/possible":                                 all,
		"sys/devices/system/machinecheck/machinecheck0/check_interval":    "300",
		"sys/devices/virtual/workqueue/cpumask":                           mask,
		"sys/devices/virtual/workqueue/writeback/cpumask":                 mask,
		"sys/fs/cgroup/cgroup.controllers":                                "cpuset cpu io memory hugetlb pids rdma misc",
		"sys/fs/cgroup/cgroup.subtree_control":                            "cpuset cpu io memory pids",
		"sys/kernel/mm/ksm/run":                                           "0",
		"sys/kernel/mm/transparent_hugepage/enabled":                      "always [madvise] never",
	} {
		m.add(name, value)
	}
	for node := range 2 { // two sockets: threads of the same core are on the same one
		first := node * cpus / 4
		m.add(fmt.Sprintf("sys/devices/system/node/node%d/cpulist", node), fmt.Sprintf("%d-%d,%d-%d", first, first+cpus/4-1, first+cpus/2, first+cpus*3/4-1))
	}
	m.add("run/irqbalance/irqbalance812.sock", "")
	m.add("etc/default/irqbalance", "#IRQBALANCE_BANNED_CPULIST=")
	m.add("run/systemd/private", "")
	m["run/systemd/system/"] = treeFile{"", fs.ModeDir | 0o755}
	for queue := range min(64, cpus) {
		m.add(fmt.Sprintf("sys/class/net/eth0/queues/rx-%d/rps_cpus", queue), strings.TrimSuffix(strings.Repeat("00000000,", cpus/32), ","))
	}
	for cpu := range cpus {
		dir := fmt.Sprintf("sys/devices/system/cpu/cpu%d/", cpu)
		first := cpu % (cpus / 2)
		m.add(dir+"topology/core_cpus_list", fmt.Sprintf("%d,%d", first, first+cpus/2))
		m.add(dir+"power/pm_qos_resume_latency_us", "0")
		m.add(dir+"cpufreq/affected_cpus", fmt.Sprintf("%d %d", first, first+cpus/2))
		m.add(dir+"cpufreq/scaling_available_governors", "performance schedutil")
		m.add(dir+"cpufreq/scaling_governor", "schedutil")
		m.add(fmt.Sprintf("sys/kernel/debug/sched/fair_server/cpu%d/runtime", cpu), "50000000")
	}
	return m
}

// withCache adds resctrl as two sockets with 20 ways of L3 cache each show it, of
// which devices fill two as well; the text is as the kernel pads it.
func withCache(m tree, cpus int) tree {
	const dir = "sys/fs/resctrl/"
	m.add(dir+"schemata", "    MB:0=100;1=100\n    L3:0=fffff;1=fffff")
	m.add(dir+"cpus_list", fmt.Sprintf("0-%d", cpus-1))
	m.add(dir+"tasks", "1")
	for name, value := range map[string]string{"cbm_mask": "fffff", "min_cbm_bits": "1", "num_closids": "16", "shareable_bits": "c0000"} {
		m.add(dir+"info/L3/"+name, value)
	}
	m.add(dir+"info/MB/num_closids", "8")
	for cpu := range cpus {
		cache := fmt.Sprintf("sys/devices/system/cpu/cpu%d/cache/", cpu)
		core := cpu % (cpus / 2)
		for index, level := range []string{"1", "1", "2", "3"} {
			m.add(fmt.Sprintf("%sindex%d/level", cache, index), level)
			m.add(fmt.Sprintf("%sindex%d/id", cache, index), strconv.Itoa(core))
		}
		m.add(cache+"index3/id", strconv.Itoa(core/(cpus/4)))
	}
	return m
}

// container is a server as a container without privileges shows it.
func container() tree {
	m := server(32, 40)
	m.add("proc/mounts", "proc /proc proc rw 0 0\nproc /proc/sys proc ro 0 0\nproc /proc/irq proc ro 0 0\nsysfs /sys sysfs ro,nosuid 0 0\ncgroup2 /sys/fs/cgroup cgroup2 ro,nosuid 0 0")
	for path := range m {
		if strings.HasPrefix(path, "sys/kernel/debug") || strings.Contains(path, "irqbalance") || strings.HasPrefix(path, "run/systemd/") {
			delete(m, path)
		}
	}
	// The container's own cgroup is the root of what it sees.
	m.add("sys/fs/cgroup/cgroup.controllers", "cpu memory pids")
	return m
}

// machine is one on which plans are tested.
type machine struct {
	name string
	tree func(testing.TB) tree
	spec Spec
}

func machines() []machine {
	file := func(name string) func(testing.TB) tree {
		return func(t testing.TB) tree { return loadTree(t, name) }
	}
	made := func(make func() tree) func(testing.TB) tree {
		return func(testing.TB) tree { return make() }
	}
	return []machine{
		{"vm-2cpu", file("vm-2cpu"), Spec{CPUs: "1"}},
		{"guest-4cpu", file("guest-4cpu"), Spec{CPUs: "2-3", Name: "dpdk"}},
		{"guest-4cpu-throughput", file("guest-4cpu"), Spec{CPUs: "2-3", Profile: Throughput, Partition: Root}},
		{"guest-4cpu-none", file("guest-4cpu"), Spec{CPUs: "0-1", Partition: None, Skip: []string{"thp"}}},
		{"guest-bookworm-6.1", file("guest-bookworm-6.1"), Spec{CPUs: "2-3"}},
		{"guest-trixie-6.12", file("guest-trixie-6.12"), Spec{CPUs: "2-3"}},
		{"guest-sid-7.2", file("guest-sid-7.2"), Spec{CPUs: "2-3"}},
		{"server-256cpu", made(func() tree { return server(256, 300) }), Spec{CPUs: "8-63,136-191"}},
		{"server-256cpu-cache", made(func() tree { return withCache(server(256, 8), 256) }), Spec{CPUs: "8-63,136-191", CacheWays: 4}},
		{"server-512cpu", made(func() tree { return server(512, 2000) }), Spec{CPUs: "16-255"}},
		{"server-256cpu-node", made(func() tree { return server(256, 8) }), Spec{CPUs: "64-127,192-255", Profile: Throughput, Name: "node-1"}},
		{"container", made(container), Spec{CPUs: "4-7"}},
	}
}
