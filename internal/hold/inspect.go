// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/sysname"
)

// finding is what an operation is in particular.
type finding struct {
	detail  string
	code    code   // the operation, if it is not the one that the program took it for
	spares  string // the cause, if it is not that of all operations of the kind
	harmful bool   // whether it would interrupt the CPUs at all
}

// inspector finds out what the programs leave open: they only see that a file of
// a name is written, not where it is and what is written to it. What cannot be
// found out counts as harmful.
type inspector struct {
	files fs.FS // root of the file tree
	cpus  cpulist.Set
	// memory reads the memory of a process.
	memory func(pid int, address uint64, size int) ([]byte, error)
}

func (i inspector) find(e *event) finding {
	switch e.code {
	case opBPF:
		return finding{detail: bpfCommands[e.detail[0]], harmful: true}
	case opPerf:
		return i.perf(e)
	case opModule:
		return i.module(e)
	case opAffinity:
		return i.affinity(e)
	case opSocketOption:
		return socketOptionNamed(int(e.detail[0]), int(e.detail[1]))
	case opNetlink:
		return netlink(e)
	case opDevice:
		cpu := int(e.detail[1])
		return finding{detail: fmt.Sprintf("%s of CPU %d", devices[uint32(e.detail[0])], cpu), harmful: i.cpus.Contains(cpu)}
	case opSwap:
		return finding{detail: sysname.Of(e.nr) + " " + i.text(e.PID, e.args[0]), harmful: true}
	case opKVM:
		return finding{harmful: true}
	case opTracing:
		if e.detail[1] != 0 { // it is being opened
			return finding{detail: "clears a file by opening it", harmful: true}
		}
	}
	return i.file(e)
}

// Types of perf events that use no CPU but that of the event: PERF_TYPE_HARDWARE,
// SOFTWARE, HW_CACHE and RAW of include/uapi/linux/perf_event.h. The others patch code.
var plainPerf = map[uint32]string{0: "hardware", 1: "software", 3: "cache", 4: "raw"}

// perf: perf_event_open(attr, pid, cpu, ...)
func (i inspector) perf(e *event) finding {
	cpu := int(int32(e.args[2]))
	where := fmt.Sprintf("CPU %d", cpu)
	if cpu < 0 {
		where = "every CPU"
	}
	text, err := i.memory(e.PID, e.args[0], 4)
	if err != nil {
		return finding{detail: where, harmful: true}
	}
	kind := binary.NativeEndian.Uint32(text)
	name, plain := plainPerf[kind]
	if !plain {
		name = fmt.Sprintf("type %d", kind)
	}
	f := finding{detail: name + " event on " + where, harmful: !plain || cpu < 0 || i.cpus.Contains(cpu)}
	if plain {
		f.spares = "ipi-perf"
	}
	return f
}

func (i inspector) module(e *event) finding {
	if sysname.Of(e.nr) == "finit_module" {
		return finding{detail: i.descriptor(e.PID, e.args[0]), harmful: true}
	}
	return finding{detail: "from memory", harmful: true}
}

// affinity: sched_setaffinity(pid, size, mask)
func (i inspector) affinity(e *event) finding {
	f := finding{detail: fmt.Sprintf("of thread %d", e.detail[0]), harmful: true}
	size := min(int(e.args[1]), 1024)
	text, err := i.memory(e.PID, e.args[2], size&^7)
	if err != nil {
		return f
	}
	var words []uint64
	for ; len(text) >= 8; text = text[8:] {
		words = append(words, binary.NativeEndian.Uint64(text))
	}
	cpus, err := cpulist.FromWords(words)
	if err != nil {
		return f
	}
	f.detail += " to CPU " + cpus.String()
	f.harmful = !cpus.Intersect(i.cpus).IsEmpty()
	return f
}

func socketOptionNamed(level, option int) finding {
	for _, o := range socketOptions {
		if o.level == level && o.option == option {
			return finding{detail: o.name, harmful: true}
		}
	}
	return finding{detail: fmt.Sprintf("level %d, option %d", level, option), harmful: true}
}

func netlink(e *event) finding {
	if e.detail[0] == unix.NETLINK_NETFILTER {
		return finding{detail: "a batch of nftables changes", harmful: true}
	}
	return finding{detail: fmt.Sprintf("traffic control, message %d", e.detail[1]), harmful: true}
}

// What the paths of files look like that the programs know by their last part only.
var (
	hotplugFile   = regexp.MustCompile(`^/sys/devices/system/cpu/(cpu\d+/online|cpu\d+/hotplug/target|smt/control)$`)
	microcodeFile = regexp.MustCompile(`^/sys/devices/system/cpu/microcode/reload$`)
	memoryFile    = regexp.MustCompile(`^/sys/devices/system/memory/(memory\d+/(online|state)|probe)$`)
	irqFile       = regexp.MustCompile(`^/proc/irq/\d+/smp_affinity(_list)?$`)
)

// file is an operation by the use of a file: read or write(fd, buffer, size).
func (i inspector) file(e *event) finding {
	name := i.descriptor(e.PID, e.args[0])
	f := finding{detail: name, harmful: true}
	switch {
	case !path.IsAbs(name):
	case microcodeFile.MatchString(name):
	case memoryFile.MatchString(name):
		f.code = opMemory
	case e.code == opHotplug || e.code == opMemory:
		f.harmful = hotplugFile.MatchString(name)
	case e.code == opMicrocode:
		f.harmful = false
	case e.code == opIRQ:
		f.harmful = irqFile.MatchString(name) && i.writesCPUs(e, !strings.HasSuffix(name, "_list"))
	case e.code == opCpuset:
		f.harmful = i.concernsCpuset(e, name)
	case e.code == opSysctl:
		f.spares, f.harmful = sysctlAt(name)
	case e.code == opSysrq:
		f.harmful = strings.Contains(i.written(e), "l") // the key for backtraces of all CPUs
	}
	return f
}

func sysctlAt(name string) (spares string, harmful bool) {
	for _, s := range sysctls {
		if "/proc/sys/"+s.path == name {
			return s.spares, true
		}
	}
	return "", false
}

// writesCPUs tells whether a list or mask of CPUs that is written has any of ours.
func (i inspector) writesCPUs(e *event, isMask bool) bool {
	parse := cpulist.ParseSysfs
	if isMask {
		parse = cpulist.ParseMask
	}
	cpus, err := parse(strings.TrimSpace(i.written(e)))
	return err != nil || !cpus.Intersect(i.cpus).IsEmpty()
}

// concernsCpuset tells whether a write to a file of a cgroup gives it our CPUs, or
// moves a task into one that has no others.
func (i inspector) concernsCpuset(e *event, name string) bool {
	dir, base := path.Split(name)
	switch base {
	case "cpuset.cpus", "cpuset.cpus.exclusive":
		return i.writesCPUs(e, false)
	case "cpuset.cpus.partition":
		return true
	}
	for _, file := range []string{"cpuset.cpus.effective", "cpuset.effective_cpus"} { // of version 2 and 1
		text, err := fs.ReadFile(i.files, strings.TrimPrefix(dir+file, "/"))
		if err != nil {
			continue
		}
		cpus, err := cpulist.ParseSysfs(strings.TrimSpace(string(text)))
		return err != nil || (!cpus.IsEmpty() && cpus.IsSubsetOf(i.cpus))
	}
	return false // a cgroup without CPUs of its own
}

// written is what write(fd, buffer, size) writes; empty if that is not known.
func (i inspector) written(e *event) string {
	if call := sysname.Of(e.nr); call != "write" && call != "pwrite64" {
		return ""
	}
	text, err := i.memory(e.PID, e.args[1], int(min(e.args[2], 4096)))
	if err != nil {
		return ""
	}
	return string(text)
}

// descriptor returns the path that a descriptor of a process was opened by.
func (i inspector) descriptor(pid int, fd uint64) string {
	name, err := fs.ReadLink(i.files, fmt.Sprintf("proc/%d/fd/%d", pid, uint32(fd)))
	if err != nil {
		return "descriptor " + strconv.Itoa(int(uint32(fd)))
	}
	return name
}

// text reads a string that ends with NUL.
func (i inspector) text(pid int, address uint64) string {
	// Not beyond the page, which may be the last one.
	size := os.Getpagesize() - int(address%uint64(os.Getpagesize()))
	b, err := i.memory(pid, address, min(size, 256))
	if err != nil {
		return "?"
	}
	return unix.ByteSliceToString(b)
}

// isOurs tells whether a process is the isolated program: a thread of it may run
// on the CPUs only.
func (i inspector) isOurs(pid int) bool {
	threads, err := fs.ReadDir(i.files, fmt.Sprintf("proc/%d/task", pid))
	if err != nil {
		return false
	}
	for _, thread := range threads {
		text, err := fs.ReadFile(i.files, fmt.Sprintf("proc/%d/task/%s/status", pid, thread.Name()))
		if err != nil {
			continue
		}
		_, list, _ := strings.Cut(string(text), "Cpus_allowed_list:")
		list, _, _ = strings.Cut(list, "\n")
		if cpus, err := cpulist.ParseSysfs(strings.TrimSpace(list)); err == nil && !cpus.IsEmpty() && cpus.IsSubsetOf(i.cpus) {
			return true
		}
	}
	return false
}

// cgroup returns the path of a process in the unified hierarchy, or in the first one.
func (i inspector) cgroup(pid int) string {
	text, err := fs.ReadFile(i.files, fmt.Sprintf("proc/%d/cgroup", pid))
	if err != nil {
		return ""
	}
	first := ""
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(fields) < 3:
		case fields[0] == "0":
			return fields[2]
		case first == "":
			first = fields[2]
		}
	}
	return first
}

// processMemory reads the memory of another process.
func processMemory(pid int, address uint64, size int) ([]byte, error) {
	if size <= 0 {
		return nil, nil
	}
	b := make([]byte, size)
	n, err := unix.ProcessVMReadv(pid, []unix.Iovec{{Base: &b[0], Len: uint64(size)}}, []unix.RemoteIovec{{Base: uintptr(address), Len: size}}, 0)
	if err != nil {
		return nil, fmt.Errorf("reading %d bytes of process %d: %w", size, pid, err)
	}
	return b[:n], nil
}
