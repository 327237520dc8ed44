// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"syscall"
	"testing"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/partition/thread"
)

// kernel imitates what a kernel does with writes to the files of a machine: it
// writes values in its own way, refuses some, and makes the files of cgroups.
type kernel struct {
	tree
	calls  int                                     // changes so far
	before func(n int, path, value string) error   // may refuse the n-th, from 1
	after  func(n int, path string)                // the n-th was made
	shows  func(path, value string) (string, bool) // another value than was written
	told   map[string]string                       // what each irqbalance takes at its next round
	asked  map[string]string                       // slices that systemd has yet to make
	own    string                                  // what irqbalance keeps off if it is told nothing
}

func newKernel(t *testing.T, m tree) *kernel {
	t.Helper()
	m.add("proc/sys/kernel/random/boot_id", "boot-1")
	return &kernel{tree: m, told: map[string]string{}, asked: map[string]string{}}
}

func (k *kernel) snapshot() tree { return maps.Clone(k.tree) }

func name(path string) string { return strings.TrimPrefix(path, "/") }

func (k *kernel) Read(path string) (string, error) {
	file, ok := k.tree[name(path)]
	if !ok {
		if strings.HasSuffix(path, ".slice/cpuset.cpus") {
			k.makeSlices()
		}
		return "", fmt.Errorf("reading %s: %w", path, fs.ErrNotExist)
	}
	return strings.TrimRight(file.text, "\n"), nil
}

// change counts a change and lets a test refuse it, or die before or after it.
func (k *kernel) change(path, value string, do func() error) error {
	k.calls++
	n := k.calls
	if k.before != nil {
		if err := k.before(n, path, value); err != nil {
			return fmt.Errorf("writing %q to %s: %w", value, path, err)
		}
	}
	if err := do(); err != nil {
		return fmt.Errorf("writing %q to %s: %w", value, path, err)
	}
	if k.after != nil {
		k.after(n, path)
	}
	return nil
}

func (k *kernel) Write(path, value string) error {
	return k.change(path, value, func() error {
		file, ok := k.tree[name(path)]
		if !ok {
			return fs.ErrNotExist
		}
		if file.mode&0o200 == 0 {
			return syscall.EPERM
		}
		text, err := k.render(path, file.text, value)
		if err != nil {
			return err
		}
		if text != "" || !strings.HasSuffix(path, "/cgroup.subtree_control") { // which has no line without a controller
			text += "\n"
		}
		k.tree[name(path)] = treeFile{text, file.mode}
		if effective := name(path) + ".effective"; strings.HasSuffix(path, "/cpuset.cpus") {
			k.tree[effective] = treeFile{text, file.mode}
		}
		return nil
	})
}

// render is what a file shows after value was written to it.
func (k *kernel) render(path, old, value string) (string, error) {
	if k.shows != nil {
		if text, ok := k.shows(path, value); ok {
			return text, nil
		}
	}
	switch {
	case strings.HasSuffix(path, "/cgroup.subtree_control"):
		words := strings.Fields(old)
		controller := value[1:]
		kept := words[:0]
		for _, w := range words {
			if w != controller {
				kept = append(kept, w)
			}
		}
		if value[0] == '+' {
			kept = append([]string{controller}, kept...)
		}
		return strings.Join(kept, " "), nil
	case strings.HasSuffix(path, "/schemata"):
		return renderSchemata(old, value)
	case strings.Contains(old, "["):
		plain := strings.NewReplacer("[", "", "]", "").Replace(strings.TrimSpace(old))
		if !strings.Contains(" "+plain+" ", " "+value+" ") {
			return "", syscall.EINVAL
		}
		return strings.TrimSpace(strings.Replace(" "+plain+" ", " "+value+" ", " ["+value+"] ", 1)), nil
	default:
		return value, nil
	}
}

// renderSchemata changes the caches that a line names, and pads as the kernel does.
func renderSchemata(old, value string) (string, error) {
	if !strings.Contains(value, "=") {
		return "", syscall.EINVAL
	}
	var lines []string
	for line := range strings.Lines(old) {
		line = strings.TrimRight(line, "\n")
		resource, list, _ := strings.Cut(value, ":")
		if strings.HasPrefix(strings.TrimSpace(line), resource+":") {
			for _, domain := range strings.Split(list, ";") {
				id, ways, _ := strings.Cut(domain, "=")
				for _, was := range strings.Split(strings.SplitN(line, ":", 2)[1], ";") {
					if strings.HasPrefix(was, id+"=") {
						line = strings.Replace(line, was, fmt.Sprintf("%s=%05s", id, ways), 1)
					}
				}
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n"), nil
}

func (k *kernel) Mkdir(path string) error {
	return k.change(path, "a new directory", func() error {
		if _, there := k.tree[name(path)+"/cgroup.procs"]; there {
			return fs.ErrExist
		}
		if strings.HasPrefix(path, resctrlRoot) {
			all, err := k.Read(resctrlRoot + "/schemata")
			k.add(name(path)+"/tasks", "")
			k.add(name(path)+"/cpus_list", "")
			k.add(name(path)+"/schemata", all)
			return err
		}
		k.add(name(path)+"/cgroup.procs", "")
		k.add(name(path)+"/cpuset.cpus", "")
		k.add(name(path)+"/cpuset.cpus.effective", "0-1")
		k.add(name(path)+"/cpuset.cpus.partition", "member")
		return nil
	})
}

// StartSlice imitates systemd, which makes the slice only after somebody has looked
// for it. It uses the controller cpuset for its slices only.
func (k *kernel) StartSlice(slice, cpus string) error {
	return k.change("/sys/fs/cgroup/"+slice, cpus, func() error {
		if _, there := k.tree["sys/fs/cgroup/"+slice+"/cgroup.procs"]; there {
			return fs.ErrExist
		}
		k.asked[slice] = cpus
		return nil
	})
}

// makeSlices does what systemd was asked for.
func (k *kernel) makeSlices() {
	for slice, cpus := range k.asked {
		dir := "sys/fs/cgroup/" + slice
		k.add(dir+"/cgroup.procs", "")
		k.add(dir+"/cgroup.events", "populated 0\nfrozen 0")
		k.add(dir+"/cpuset.cpus", cpus)
		k.add(dir+"/cpuset.cpus.effective", cpus)
		k.add(dir+"/cpuset.cpus.partition", "member")
	}
	clear(k.asked)
}

func (k *kernel) StopSlice(slice string) error {
	k.makeSlices() // one request after the other
	if _, err := k.Read("/sys/fs/cgroup/" + slice + "/cgroup.procs"); err != nil {
		return err
	}
	return k.Rmdir("/sys/fs/cgroup/" + slice)
}

func (k *kernel) Rmdir(path string) error {
	return k.change(path, "no directory", func() error {
		if !strings.HasPrefix(path, resctrlRoot) {
			if text, err := k.Read(path + "/cgroup.procs"); err != nil {
				return err
			} else if text != "" {
				return syscall.EBUSY
			}
		}
		for file := range k.tree {
			if strings.HasPrefix(file, name(path)+"/") {
				delete(k.tree, file)
			}
		}
		return nil
	})
}

// SetAffinity of a thread that a test has made.
func (k *kernel) SetAffinity(thread string, cpus cpulist.Set) error {
	return k.change(thread, cpus.String(), func() error {
		file, ok := k.tree[name(thread)+"/status"]
		if !ok {
			return syscall.ESRCH
		}
		k.tree[name(thread)+"/status"] = treeFile{"Name:\ttest\nCpus_allowed_list:\t" + cpus.String() + "\n", file.mode}
		return nil
	})
}

// Ask imitates irqbalance, whose socket is a file with the list that it was started
// with, or was told. A round of it is over after each question.
func (k *kernel) Ask(socket, request string) (string, error) {
	file, ok := k.tree[name(socket)]
	if !ok {
		return "", fmt.Errorf("asking %s: %w", socket, fs.ErrNotExist)
	}
	list, tells := strings.CutPrefix(request, "settings cpus ")
	if tells {
		return "", k.change(socket, list, func() error {
			k.told[socket] = list
			return nil
		})
	}
	answer := "SLEEP 1 IRQ 9 LOAD 0 DIFF 0 CLASS 0 BANNED " + maskOf(file.text)
	if told, ok := k.told[socket]; ok {
		switch told {
		case "NULL":
			told = k.own
		case "-":
			told = ""
		}
		k.add(name(socket), told)
		delete(k.told, socket)
	}
	return answer, nil
}

func maskOf(list string) string {
	set, err := cpulist.ParseSysfs(list)
	if err != nil {
		panic(err)
	}
	return set.Mask()
}

// balancer adds an irqbalance that keeps off CPUs, and was started with a list or
// finds out by itself.
func (k *kernel) balancer(pid int, banned, environment string) string {
	socket := fmt.Sprintf("/run/irqbalance/irqbalance%d.sock", pid)
	k.add(name(socket), banned)
	k.add(fmt.Sprintf("proc/%d/comm", pid), "irqbalance")
	k.add(fmt.Sprintf("proc/%d/environ", pid), "A=b\x00IRQBALANCE_BANNED_CPULIST="+environment+"\x00")
	if k.own = environment; environment == "" {
		k.own, _ = k.Read("/sys/devices/system/cpu/nohz_full")
	}
	return socket
}

// thread adds one with an affinity.
func (k *kernel) thread(tid int, affinity string) {
	dir := fmt.Sprintf("proc/%d/task/%[1]d/", tid)
	k.add(dir+"status", "Name:\ttest\nCpus_allowed_list:\t"+affinity)
	k.add(dir+"stat", fmt.Sprintf("%d (te) st) S 1 1 1 0 -1 0"+strings.Repeat(" 0", 12)+" %d 0 0", tid, 1000+tid))
}

// kernelThread adds one that the kernel has made.
func (k *kernel) kernelThread(tid int, affinity string) {
	k.thread(tid, affinity)
	k.add(fmt.Sprintf("proc/%d/task/%[1]d/stat", tid), fmt.Sprintf("%d (kt) S 1 1 1 0 -1 %d"+strings.Repeat(" 0", 12)+" %d 0 0", tid, thread.Kthread, 1000+tid))
}

// store is of the machine as it is now.
func (k *kernel) store(t *testing.T, dir string) *Store {
	t.Helper()
	return NewStore(dir, k, k.files(t))
}

// same fails the test unless the machine is byte for byte what it was.
func (k *kernel) same(t *testing.T, when string, want tree) {
	t.Helper()
	for path := range want {
		if k.tree[path] != want[path] {
			t.Errorf("%s: %s holds %q, want %q", when, path, k.tree[path].text, want[path].text)
		}
	}
	for path := range k.tree {
		if _, ok := want[path]; !ok {
			t.Errorf("%s: %s was left behind", when, path)
		}
	}
}
