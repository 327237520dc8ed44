// SPDX-License-Identifier: Apache-2.0

package noise

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
)

// SMIs counts the system management interrupts of CPUs, where the processor does
// and perf knows how (MSR_SMI_COUNT, arch/x86/events/msr.c).
type SMIs struct{ events map[int]int }

// OpenSMIs begins to count. An error means that it cannot be done here.
func OpenSMIs(files fs.FS, cpus cpulist.Set) (*SMIs, error) { return openMSR(files, "smi", cpus) }

// openMSR counts what an event of perf's msr PMU counts.
func openMSR(files fs.FS, event string, cpus cpulist.Set) (*SMIs, error) {
	const pmu = "sys/bus/event_source/devices/msr/"
	config, err := fs.ReadFile(files, pmu+"events/"+event)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("this CPU, or its hypervisor, has no counter of them that the kernel knows (no /%sevents/%s)", pmu, event)
	}
	if err != nil {
		return nil, err
	}
	kind, err := fs.ReadFile(files, pmu+"type")
	if err != nil {
		return nil, err
	}
	attr := unix.PerfEventAttr{Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{}))}
	number, err := strconv.ParseUint(strings.TrimSpace(string(kind)), 0, 32)
	if err != nil {
		return nil, fmt.Errorf("parsing /%stype: %w", pmu, err)
	}
	attr.Type = uint32(number)
	text, _ := strings.CutPrefix(strings.TrimSpace(string(config)), "event=")
	if attr.Config, err = strconv.ParseUint(text, 0, 64); err != nil {
		return nil, fmt.Errorf("parsing /%sevents/%s: %w", pmu, event, err)
	}
	s := &SMIs{events: make(map[int]int)}
	for cpu := range cpus.All() {
		fd, err := unix.PerfEventOpen(&attr, -1, cpu, -1, unix.PERF_FLAG_FD_CLOEXEC)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("opening perf's counter of them on CPU %d: %w", cpu, err)
		}
		s.events[cpu] = fd
	}
	return s, nil
}

// Read returns how many there were on a CPU since they were counted. It interrupts
// that CPU: not while a loop measures there.
func (s *SMIs) Read(cpu int) (uint64, error) {
	var b [8]byte
	if _, err := unix.Read(s.events[cpu], b[:]); err != nil {
		return 0, fmt.Errorf("reading the number of SMIs of CPU %d: %w", cpu, err)
	}
	return binary.NativeEndian.Uint64(b[:]), nil
}

// Close ends the counting, which interrupts the CPUs as well.
func (s *SMIs) Close() {
	for _, fd := range s.events {
		unix.Close(fd)
	}
}
