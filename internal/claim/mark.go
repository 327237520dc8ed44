// SPDX-License-Identifier: Apache-2.0

package claim

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/cilium/ebpf"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/proc"
)

// Marks is how the names of marks begin; the rest is the number of the CPU. A name has up to 15 characters.
const Marks = "taskiso_cpu"

// markType is the type of a mark: of a BPF map that says by its name that a CPU is claimed. Numbers and names of maps are the
// same on the whole machine, and a map goes with the process that has it open. Nobody makes one of this type without CAP_BPF,
// also where kernel.unprivileged_bpf_disabled is 0 (queue_stack_map_alloc_check(), since 6.4 map_create()).
const markType = ebpf.Queue

// Everywhere claims CPUs also where /run is another one: in a container. The error is [ErrInUse] if another run has one of the
// CPUs, and then release is nil. Any other means that not all of this was possible, for lack of CAP_BPF or CAP_SYS_ADMIN. files
// has /proc.
func Everywhere(files fs.FS, prefix string, cpus cpulist.Set) (release func(), err error) {
	for { // until no claim goes meanwhile
		m := marker{prefix: prefix, known: make(map[string][]ebpf.MapID)}
		other, err := m.markAll(cpus)
		if other == nil {
			return m.close, err
		}
		m.close()
		if owner := other.owner(files); owner != "" {
			return nil, fmt.Errorf("reserving CPU %d: %w", other.cpu, inUse(owner))
		}
	}
}

// marker marks CPUs, and knows what others have marked.
type marker struct {
	prefix string
	own    []*ebpf.Map
	known  map[string][]ebpf.MapID // numbers of marks, ascending, by name
	last   ebpf.MapID              // of all maps that were looked at
}

func (m *marker) close() {
	for _, own := range m.own {
		own.Close()
	}
}

// rival is a mark of somebody else.
type rival struct {
	cpu int
	id  ebpf.MapID
}

// markAll marks CPUs, up to one that is somebody else's. Where marks cannot be listed, those are made that others can see.
func (m *marker) markAll(cpus cpulist.Set) (*rival, error) {
	blind := m.list()
	for cpu := range cpus.All() {
		name := fmt.Sprint(m.prefix, cpu)
		if before := m.known[name]; len(before) > 0 { // also with a higher number: after 2^31 maps they begin anew
			return &rival{cpu, before[0]}, nil
		}
		id, err := m.mark(name)
		if err != nil {
			return nil, err
		}
		if blind != nil {
			continue
		}
		blind = m.list()
		// Of two who mark a CPU at the same time each sees the other's mark, and the lower number counts. Both begin with the
		// same CPU, so that one of them gets all.
		if first := m.known[name]; len(first) > 0 && first[0] < id {
			return &rival{cpu, first[0]}, nil
		}
	}
	return nil, blind
}

func (m *marker) mark(name string) (ebpf.MapID, error) {
	own, err := ebpf.NewMap(&ebpf.MapSpec{Name: name, Type: markType, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		return 0, doing("making a BPF map", err)
	}
	m.own = append(m.own, own)
	info, err := own.Info()
	if err != nil {
		return 0, doing("looking at a BPF map", err)
	}
	id, _ := info.ID()
	return id, nil
}

// list takes in the marks that were made since the last call.
func (m *marker) list() error {
	for {
		id, err := ebpf.MapGetNextID(m.last)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return doing("listing BPF maps", err)
		}
		m.last = id
		info, err := look(id)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has gone
		} else if err != nil {
			return doing(fmt.Sprintf("looking at BPF map %d", id), err)
		}
		if info.Type == markType {
			m.known[info.Name] = append(m.known[info.Name], id)
		}
	}
}

func look(id ebpf.MapID) (*ebpf.MapInfo, error) {
	m, err := ebpf.NewMapFromID(id)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	return m.Info()
}

// owner names who has the mark, by the number that this process would use for it; "" if the mark has gone.
func (r *rival) owner(files fs.FS) string {
	line := fmt.Sprintf("\nmap_id:\t%d\n", r.id)
	processes, _ := proc.Processes(files)
	for _, pid := range processes {
		dir := proc.Process(pid) + "/fdinfo"
		descriptors, _ := proc.Numbered(files, dir)
		for _, fd := range descriptors {
			text, _ := fs.ReadFile(files, fmt.Sprintf("%s/%d", dir, fd))
			if strings.Contains(string(text), line) {
				return fmt.Sprintf("taskiso process %d", pid)
			}
		}
	}
	if _, err := look(r.id); errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return "taskiso in another container, which has no process here,"
}

// doing keeps nothing of an error but the kernel's answer: users know nothing of the library.
func doing(what string, err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		err = errno
	}
	return fmt.Errorf("%s: %w", what, err)
}
