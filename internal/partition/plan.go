// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/taskiso/taskiso/cpulist"
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
	p.Settings = settings(h)
	return p, p.missing(spec.Require)
}

// settings finds out about all settings at once: none depends on another, and
// reading thousands of files is what a plan takes its time for.
func settings(h *host) []Setting {
	all := knobs()
	list := make([]Setting, len(all))
	var done sync.WaitGroup
	for i, k := range all {
		done.Go(func() { list[i] = k.on(h) })
	}
	done.Wait()
	return list
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
	case errors.Is(err, errLacking), errors.Is(err, errTaken):
		s.State = Lacking
	case errors.Is(err, errLeft):
		s.State = Left
	case errors.Is(err, errNeedless):
		s.State = Needless
	case err != nil:
		s.State = Unknown
	case len(f.changes) > 0 || f.later:
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
	if s := p.setting(cpusetSetting); s != nil && s.State == Changes {
		return p.Partition
	}
	return None
}

// setting returns one by its name.
func (p *Plan) setting(name string) *Setting {
	for i := range p.Settings {
		if p.Settings[i].Name == name {
			return &p.Settings[i]
		}
	}
	return nil
}

// tellsBalancer tells whether each irqbalance that runs keeps off the CPUs, or will.
func (p *Plan) tellsBalancer() bool {
	s := p.setting(balancerSetting)
	return s != nil && (s.State == Set || s.State == Changes)
}

// All returns the changes in the order they are made.
func (p *Plan) All() []Change {
	var all []Change
	for _, s := range p.Settings {
		all = append(all, s.Changes...)
	}
	return all
}

// tickGoesOn is a warning of a plan that a grade has as a hazard.
const tickGoesOn = "the tick goes on there, as only a boot with nohz_full= stops it; see \"taskiso partition boot\""

// warnings says what about the choice of CPUs cannot be helped by a setting.
func (h *host) warnings() []string {
	var list []string
	warn := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if h.cpus.Contains(0) {
		warn("CPU 0 does work that the kernel gives to no other CPU (timekeeping unless nohz_full= moves it, early interrupts, suspend): isolate another one if you can")
	}
	if shared := h.siblings.Minus(h.cpus).Intersect(h.online); !shared.IsEmpty() && h.spec.Siblings != Offline {
		warn("CPU %v share cores with isolated CPUs and slow them down: isolate them too, or take them offline (--siblings offline)", shared)
	}
	if rest := h.cpus.Minus(h.nohzFull); !rest.IsEmpty() {
		warn("CPU %v: "+tickGoesOn, rest)
	}
	if both := h.cpus.Intersect(h.bootIsolated); !both.IsEmpty() {
		warn("CPU %v are isolated already, by isolcpus= or another partition", both)
	}
	for _, node := range h.nodesWithoutHousekeeping() {
		warn("%s has no CPU for housekeeping: interrupts of its devices and kernel threads for its memory run on another node", node)
	}
	for _, dir := range h.readOnly() {
		warn("%s is mounted read-only here, as in a container: nothing below it can be changed from here", dir)
	}
	return list
}

// nodesWithoutHousekeeping returns the NUMA nodes all of whose CPUs are isolated, if
// there are others.
func (h *host) nodesWithoutHousekeeping() []string {
	files, err := h.glob("/sys/devices/system/node/node[0-9]*/cpulist")
	if err != nil || len(files) < 2 {
		return nil
	}
	var nodes []string
	for _, file := range files {
		text, err := h.read(file)
		if err != nil {
			continue
		}
		cpus, err := cpulist.ParseSysfs(text) // a node may have memory only
		if err == nil && !cpus.Intersect(h.cpus).IsEmpty() && cpus.Intersect(h.housekeeping).IsEmpty() {
			nodes = append(nodes, path.Base(path.Dir(file)))
		}
	}
	return nodes
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
