// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/topology"
)

// State is what a plan does about a setting.
type State string

// States of settings.
const (
	Changes  State = "change"   // it is changed
	Set      State = "set"      // it is as it should be already
	Needless State = "needless" // it would change nothing here
	Left     State = "left"     // the spec or the profile leaves it alone
	Lacking  State = "lacking"  // the machine does not have it
	Unknown  State = "unknown"  // it could not be read
)

// Setting is one setting in a plan.
type Setting struct {
	Name    string   `json:"name"`
	State   State    `json:"state"`
	Why     string   `json:"why"`
	Source  string   `json:"source"`
	Reason  string   `json:"reason,omitempty"` // of states other than change and set
	Notes   []string `json:"notes,omitempty"`
	Changes []Change `json:"changes,omitempty"`
}

// Plan is what would be done for a spec on a machine.
type Plan struct {
	Schema       int         `json:"schema"`
	Name         string      `json:"name"`
	CPUs         cpulist.Set `json:"cpus"`
	Housekeeping cpulist.Set `json:"housekeeping"`
	Profile      string      `json:"profile"`
	Partition    string      `json:"partition"`
	Warnings     []string    `json:"warnings,omitempty"`
	Settings     []Setting   `json:"settings"`
}

// ErrRequired means that a setting that the spec requires is not possible.
var ErrRequired = errors.New("required, but not possible here")

// New plans spec for the machine with these files. It only reads. A setting
// that the machine lacks, or that cannot be read, is in the plan; it is an error
// that matches [ErrRequired] only if the spec requires it. The plan is valid
// then, too.
func New(spec Spec, files fs.FS) (*Plan, error) { return newBeside(spec, files, cpulist.Set{}) }

// newBeside plans a partition beside others, which have the CPUs taken.
func newBeside(spec Spec, files fs.FS, taken cpulist.Set) (*Plan, error) {
	spec, err := spec.complete()
	if err != nil {
		return nil, err
	}
	h, err := readHost(spec, files, taken)
	if err != nil {
		return nil, err
	}
	p := &Plan{
		Schema: 1, Name: spec.Name, CPUs: h.cpus, Housekeeping: h.housekeeping,
		Profile: spec.Profile, Partition: spec.Partition, Warnings: h.warnings(),
	}
	for _, k := range knobs() {
		p.Settings = append(p.Settings, k.on(h))
	}
	return p, p.missing(spec.Require)
}

// on says what the knob does on a machine.
func (k knob) on(h *host) Setting {
	s := Setting{Name: k.name, Why: k.why, Source: k.source}
	switch {
	case slices.Contains(h.spec.Skip, k.name):
		s.State, s.Reason = Left, "the spec skips it"
		return s
	case k.global && h.spec.Profile == Throughput && !slices.Contains(h.spec.Require, k.name):
		s.State, s.Reason = Left, "it is for the whole machine, which the profile throughput leaves alone"
		return s
	}
	f, err := k.plan(h)
	switch {
	case errors.Is(err, errLacking):
		s.State = Lacking
	case errors.Is(err, errLeft):
		s.State = Left
	case errors.Is(err, errNeedless):
		s.State = Needless
	case err != nil:
		s.State = Unknown
	case len(f.changes) > 0 || k.name == tasksSetting:
		s.State = Changes
	default:
		s.State = Set
	}
	if err != nil {
		// All or nothing: half of a setting helps nobody.
		s.Reason = err.Error()
		return s
	}
	s.Changes, s.Notes = f.changes, f.notes
	return s
}

func (p *Plan) missing(required []string) error {
	for _, s := range p.Settings {
		if slices.Contains(required, s.Name) && (s.State == Lacking || s.State == Unknown) {
			return fmt.Errorf("setting %s: %w: %s", s.Name, ErrRequired, s.Reason)
		}
	}
	return nil
}

// kind is the kind of the cpuset partition that is made: None also if the
// machine lacks what it takes.
func (p *Plan) kind() string {
	for _, s := range p.Settings {
		if s.Name == cpusetSetting && s.State == Changes {
			return p.Partition
		}
	}
	return None
}

// All returns the changes in the order they are made.
func (p *Plan) All() []Change {
	var all []Change
	for _, s := range p.Settings {
		all = append(all, s.Changes...)
	}
	return all
}

// warnings says what about the choice of CPUs cannot be helped by a setting.
func (h *host) warnings() []string {
	var list []string
	warn := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if h.cpus.Contains(0) {
		warn("CPU 0 does work that the kernel gives to no other CPU (timekeeping unless nohz_full= moves it, early interrupts, suspend): isolate another one if you can")
	}
	if shared := h.siblings().Minus(h.cpus).Intersect(h.online); !shared.IsEmpty() && h.spec.Siblings != Offline {
		warn("CPU %v share cores with isolated CPUs and slow them down: isolate them too, or take them offline (--siblings offline)", shared)
	}
	if rest := h.cpus.Minus(h.nohzFull); !rest.IsEmpty() {
		warn("CPU %v: the tick goes on there, as only a boot with nohz_full= stops it; see \"taskiso partition boot\"", rest)
	}
	if both := h.cpus.Intersect(h.bootIsolated); !both.IsEmpty() {
		warn("CPU %v are isolated already, by isolcpus= or another partition", both)
	}
	for _, dir := range h.readOnly() {
		warn("%s is mounted read-only here, as in a container: nothing below it can be changed from here", dir)
	}
	return list
}

// readOnly returns where settings are that cannot be written.
func (h *host) readOnly() []string {
	mounts, err := fs.ReadFile(h.files, "proc/mounts")
	if err != nil {
		return nil
	}
	var list []string
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !slices.Contains(strings.Split(fields[3], ","), "ro") {
			continue
		}
		if slices.Contains([]string{"/sys", "/proc/sys", "/proc/irq", cgroupRoot}, fields[1]) && !slices.Contains(list, fields[1]) {
			list = append(list, fields[1])
		}
	}
	return list
}

// siblings returns the hardware threads of all cores with an isolated CPU. A
// machine that does not say has none.
func (h *host) siblings() cpulist.Set {
	all := h.cpus
	for cpu := range h.cpus.All() {
		if threads, err := topology.Siblings(h.files, cpu); err == nil {
			all = all.Union(threads)
		}
	}
	return all
}
