// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/proc"
	"github.com/taskiso/taskiso/internal/sysname"
)

// finding is what an operation is in particular.
type finding struct {
	detail  string
	code    code   // the operation, if it is not the one that the program took it for
	spares  string // the cause, if it is not that of all operations of the kind
	harmful bool   // whether it would interrupt the CPUs at all
}

// inspector answers the questions that the programs leave open: they only see that a
// file with a certain name is written, not its directory and not the data. A use that
// cannot be inspected counts as harmful.
type inspector struct {
	files fs.FS // root of the file tree
	cpus  cpulist.Set
	// allowed returns the CPUs on which a thread may run.
	allowed func(tid int) (cpulist.Set, error)
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
		return finding{detail: sysname.Of(e.nr) + " " + text(e.memory), harmful: true}
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
	if len(e.memory) < 4 {
		return finding{detail: where, harmful: true}
	}
	kind := binary.NativeEndian.Uint32(e.memory)
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
		return finding{detail: i.descriptor(e.TID, e.args[0]), harmful: true}
	}
	return finding{detail: "from memory", harmful: true}
}

// affinity: sched_setaffinity(pid, size, mask). The kernel takes 32 bits of the size.
func (i inspector) affinity(e *event) finding {
	f := finding{detail: fmt.Sprintf("of thread %d", e.detail[0]), harmful: true}
	size := int(uint32(e.args[1]))
	last, _ := i.cpus.Last()
	if len(e.memory) < size && last >= 8*len(e.memory) {
		return f
	}
	var words []uint64
	for word := range slices.Chunk(e.memory, 8) {
		words = append(words, binary.NativeEndian.Uint64(append(slices.Clone(word), make([]byte, 8-len(word))...)))
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

// Full paths of files that the BPF programs match by base name.
var (
	hotplugFile   = regexp.MustCompile(`^/sys/devices/system/cpu/(cpu\d+/online|cpu\d+/hotplug/target|smt/control)$`)
	microcodeFile = regexp.MustCompile(`^/sys/devices/system/cpu/microcode/reload$`)
	memoryFile    = regexp.MustCompile(`^/sys/devices/system/memory/(memory\d+/(online|state)|probe)$`)
	irqFile       = regexp.MustCompile(`^/proc/irq/\d+/smp_affinity(_list)?$`)
)

// file is an operation by the use of a file: read or write(fd, buffer, size).
func (i inspector) file(e *event) finding {
	name, known := i.locate(e.TID, e.args[0])
	f := finding{detail: name, harmful: true}
	switch {
	case !known:
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
		keys, known := written(e)
		f.harmful = !known || strings.Contains(keys, "l") // the key for backtraces of all CPUs
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

// writesCPUs reports whether a list or mask of CPUs that is written has any of ours.
func (i inspector) writesCPUs(e *event, isMask bool) bool {
	parse := cpulist.ParseSysfs
	if isMask {
		parse = cpulist.ParseMask
	}
	text, known := written(e)
	cpus, err := parse(strings.TrimSpace(text))
	return !known || err != nil || !cpus.Intersect(i.cpus).IsEmpty()
}

// concernsCpuset reports whether a write to a file of a cgroup can interrupt our CPUs. Any
// that can rebuild the scheduling domains does, whichever CPUs it names: domains of all
// CPUs are compared then, and where nohz_full follows the partitions CPUs are switched off
// and on (kernel/cgroup/cpuset.c). Moving a task does if the cgroup has no other CPUs.
func (i inspector) concernsCpuset(e *event, name string) bool {
	dir, base := path.Split(name)
	switch base {
	case "cgroup.procs", "cgroup.threads", "tasks":
		return i.isOfOurCPUs(dir)
	case "cgroup.subtree_control":
		text, known := written(e)
		return !known || strings.Contains(text, "cpuset")
	}
	return true
}

func (i inspector) isOfOurCPUs(dir string) bool {
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

// written is what write(fd, buffer, size) writes, if that is known as a whole.
func written(e *event) (text string, known bool) {
	return string(e.memory), len(e.memory) > 0 && uint64(len(e.memory)) == e.args[2]
}

// descriptor returns the path with which a descriptor of a thread was opened. Threads of a process may have tables of
// their own.
func (i inspector) descriptor(tid int, fd uint64) string {
	name, err := fs.ReadLink(i.files, fmt.Sprintf("proc/%d/fd/%d", tid, uint32(fd)))
	if err != nil {
		return "descriptor " + strconv.Itoa(int(uint32(fd)))
	}
	return name
}

// text is a string that ends with NUL.
func text(memory []byte) string {
	if len(memory) == 0 {
		return "?"
	}
	return unix.ByteSliceToString(memory)
}

// isOurs reports whether a process is the isolated program: a thread of it may run
// on the CPUs only.
func (i inspector) isOurs(pid int) bool {
	threads, err := proc.Threads(i.files, pid)
	if err != nil {
		return false
	}
	for _, tid := range threads {
		if cpus, err := i.allowed(tid); err == nil && !cpus.IsEmpty() && cpus.IsSubsetOf(i.cpus) {
			return true
		}
	}
	return false
}

// cgroup returns the path of a process in the unified hierarchy, or in the first one.
func (i inspector) cgroup(pid int) string {
	dir, _, _ := proc.Cgroup(i.files, proc.Process(pid)) // "" if it has ended
	return dir
}
