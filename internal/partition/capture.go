// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"

	"github.com/taskiso/taskiso/internal/kernfs"
)

// captured are the files that [New] and [NewBoot] read, each once.
func captured() []string {
	all := capturedForAll()
	for _, k := range knobs() {
		all = append(all, k.reads...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// capturedForAll are the files that are not read for one setting. A directory is enough
// where only its presence counts.
func capturedForAll() []string {
	return []string{
		"proc/1/comm", // shows that processes could be seen
		"proc/cmdline",
		"proc/mounts",
		"proc/pressure",
		"proc/sys/kernel/osrelease",
		"proc/sys/kernel/random/boot_id",
		"sys/devices/system/clocksource/clocksource0/current_clocksource",
		"sys/devices/system/cpu/cpu[0-9]*/cache/index*/id",
		"sys/devices/system/cpu/cpu[0-9]*/cache/index*/level",
		"sys/devices/system/cpu/cpu[0-9]*/cache/index2/shared_cpu_list",
		"sys/devices/system/cpu/cpu[0-9]*/topology/cluster_cpus_list",
		"sys/devices/system/cpu/cpu[0-9]*/topology/core_cpus_list",
		"sys/devices/system/cpu/cpu[0-9]*/topology/thread_siblings_list",
		"sys/devices/system/cpu/isolated",
		"sys/devices/system/cpu/nohz_full",
		"sys/devices/system/cpu/online",
		"sys/devices/system/cpu/possible",
		"sys/devices/system/cpu/smt/active",
		"sys/devices/system/cpu/smt/control",
		"sys/devices/system/machinecheck/machinecheck[0-9]*/ignore_ce",
		"sys/devices/system/node/node[0-9]*/cpulist",
		"sys/module/rcutree/parameters",
		"sys/module/rcutree/parameters/nohz_full_patience_delay",
	}
}

// OpenCaptured opens the machine in dir, an unpacked archive of [Capture]. The caller closes it.
func OpenCaptured(dir string) (*kernfs.FS, error) {
	files, err := kernfs.OpenCaptured(dir)
	if err != nil {
		return nil, err
	}
	if _, err := fs.Stat(files.View(), "sys/devices/system/cpu/online"); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is not a captured machine: it has no sys/devices/system/cpu/online; unpack an archive of \"taskiso doctor --capture\" there", dir), files.Close())
	}
	return files, nil
}

// Capture writes all that a plan depends on to a compressed tar archive.
// Unpacked, it serves instead of the machine. Files that cannot be read are
// left out and returned: a plan takes them for missing.
//
// It holds the kernel's command line, the names of network devices and mounts, and
// irqbalance's configuration, but of processes no more than irqbalance's number and
// the name of the first one.
func Capture(w io.Writer, files fs.FS) (unread []string, err error) {
	zip := gzip.NewWriter(w)
	archive := tar.NewWriter(zip)
	for _, pattern := range captured() {
		paths, err := fs.Glob(files, pattern)
		if err != nil {
			return nil, fmt.Errorf("capturing %s: %w", pattern, err)
		}
		for _, path := range paths {
			read, err := captureFile(archive, files, path)
			if err != nil {
				return nil, err
			}
			if !read {
				unread = append(unread, "/"+path)
			}
		}
	}
	more, err := captureOwners(archive, files)
	if err != nil {
		return nil, err
	}
	unread = append(unread, more...)
	if _, err := fs.ReadDir(files, "sys/kernel/debug"); errors.Is(err, fs.ErrPermission) {
		unread = append(unread, "/sys/kernel/debug")
	}
	return unread, errors.Join(archive.Close(), zip.Close())
}

// captureOwners adds the cgroups, at any depth, that have CPUs of their own; the
// first level is captured as a whole.
func captureOwners(archive *tar.Writer, files fs.FS) (unread []string, err error) {
	owners, cut := claims(files)
	if cut != nil {
		unread = append(unread, cgroupRoot+" below what was read of it")
	}
	for _, o := range owners {
		if path.Dir(o.Dir) == cgroupRoot {
			continue
		}
		for _, file := range []string{"cpuset.cpus", "cpuset.cpus.partition"} {
			name := path.Join(inFS(o.Dir), file)
			if _, err := fs.Stat(files, name); err != nil {
				continue // version 1 has no partitions, or it has gone
			}
			read, err := captureFile(archive, files, name)
			if err != nil {
				return nil, err
			}
			if !read {
				unread = append(unread, "/"+name)
			}
		}
	}
	return unread, nil
}

// captureFile reports whether a file could be read; to write it to the archive has to work.
func captureFile(archive *tar.Writer, files fs.FS, name string) (read bool, err error) {
	header, content, err := readEntry(files, name)
	if err != nil {
		return false, nil
	}
	if err := writeEntry(archive, header, content); err != nil {
		return false, fmt.Errorf("capturing /%s: %w", name, err)
	}
	return true, nil
}

// readEntry reads first and takes the size from that: files of the kernel do
// not know it.
func readEntry(files fs.FS, path string) (*tar.Header, []byte, error) {
	info, err := fs.Stat(files, path)
	if err != nil {
		return nil, nil, err
	}
	if info.IsDir() || info.Mode().Type() == fs.ModeSocket {
		return &tar.Header{Typeflag: tar.TypeDir, Name: path + "/", Mode: 0o755}, nil, nil
	}
	content, err := fs.ReadFile(files, path)
	mode := int64(info.Mode().Perm())
	return &tar.Header{Typeflag: tar.TypeReg, Name: path, Mode: mode, Size: int64(len(content))}, content, err
}

func writeEntry(archive *tar.Writer, header *tar.Header, content []byte) error {
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err := archive.Write(content)
	return err
}
