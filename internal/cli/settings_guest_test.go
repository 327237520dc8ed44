// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/taskiso/taskiso/internal/proc"
)

// settings are what root can set on a machine and read back: the writable files of
// the kernel's file systems, and the CPUs that each thread may use.
type settings map[string]string

// settingTrees hold them. Files of processes are not among them, nor those of tracing.
var settingTrees = []string{
	"/proc/sys", "/proc/irq", "/sys/devices/virtual/workqueue", "/sys/devices/system/cpu", "/sys/devices/system/machinecheck",
	"/sys/devices/system/clocksource", "/sys/kernel/mm", "/sys/kernel/debug/sched", "/sys/fs/cgroup",
}

// settingFiles finds the files.
func settingFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, root := range settingTrees {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || slices.Contains(noSettings, d.Name()) {
				return nil // or gone meanwhile, or no file
			}
			info, err := d.Info()
			if err == nil && info.Mode()&0o600 == 0o600 {
				files = append(files, path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// noSettings are files that tell who is in a cgroup, which is compared for each thread,
// or averages, and one that makes every CPU work when it is read.
var noSettings = []string{"cgroup.procs", "cgroup.threads", "cpu.pressure", "io.pressure", "memory.pressure", "irq.pressure", "stat_refresh"}

// readSettings reads the files, those of cgroups that came later, and the affinity
// and cgroup of threads. What cannot be read is left out.
func readSettings(t *testing.T, files []string) settings {
	t.Helper()
	all := readThreads(t)
	cgroups, err := filepath.Glob("/sys/fs/cgroup/*/cpuset.cpus*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range slices.Concat(files, cgroups) {
		if text, err := os.ReadFile(path); err == nil {
			all[path] = string(text)
		}
	}
	return all
}

func readThreads(t *testing.T) settings {
	t.Helper()
	all := settings{}
	statuses, err := filepath.Glob("/proc/[0-9]*/task/*/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range statuses {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		status := proc.Status(text)
		cgroup, err := os.ReadFile(filepath.Join(filepath.Dir(file), "cgroup"))
		if err != nil {
			continue
		}
		all[fmt.Sprintf("%s (%s)", filepath.Dir(file), status.Value("Name"))] = status.Value("Cpus_allowed_list") + " in " + string(cgroup)
	}
	return all
}

// differ returns the settings that are there in both and not the same, and files
// that are only in one of them. Threads come and go by themselves.
func (s settings) differ(other settings) []string {
	var names []string
	for name, text := range s {
		if was, there := other[name]; there && was != text {
			names = append(names, name)
		} else if !there && !strings.HasPrefix(name, "/proc/") {
			names = append(names, name)
		}
	}
	for name := range other {
		if _, there := s[name]; !there && !strings.HasPrefix(name, "/proc/") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
