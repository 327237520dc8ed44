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
)

// kernel imitates what a kernel does with writes to the files of a machine: it
// writes values in its own way, refuses some, and makes the files of cgroups.
type kernel struct {
	tree
	calls  int                                     // changes so far
	before func(n int, path, value string) error   // may refuse the n-th, from 1
	after  func(n int, path string)                // the n-th was made
	shows  func(path, value string) (string, bool) // another value than was written
}

func newKernel(t *testing.T, m tree) *kernel {
	t.Helper()
	m.add("proc/sys/kernel/random/boot_id", "boot-1")
	return &kernel{tree: m}
}

func (k *kernel) snapshot() tree { return maps.Clone(k.tree) }

func name(path string) string { return strings.TrimPrefix(path, "/") }

func (k *kernel) Read(path string) (string, error) {
	file, ok := k.tree[name(path)]
	if !ok {
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

func (k *kernel) Mkdir(path string) error {
	return k.change(path, "a new directory", func() error {
		if _, there := k.tree[name(path)+"/cgroup.procs"]; there {
			return fs.ErrExist
		}
		k.add(name(path)+"/cgroup.procs", "")
		k.add(name(path)+"/cpuset.cpus", "")
		k.add(name(path)+"/cpuset.cpus.effective", "0-1")
		k.add(name(path)+"/cpuset.cpus.partition", "member")
		return nil
	})
}

func (k *kernel) Rmdir(path string) error {
	return k.change(path, "no directory", func() error {
		if text, err := k.Read(path + "/cgroup.procs"); err != nil {
			return err
		} else if text != "" {
			return syscall.EBUSY
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

// thread adds one with an affinity.
func (k *kernel) thread(tid int, affinity string) {
	dir := fmt.Sprintf("proc/%d/task/%[1]d/", tid)
	k.add(dir+"status", "Name:\ttest\nCpus_allowed_list:\t"+affinity)
	k.add(dir+"stat", fmt.Sprintf("%d (te) st) S 1 1 1 0 -1 0"+strings.Repeat(" 0", 12)+" %d 0 0", tid, 1000+tid))
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
