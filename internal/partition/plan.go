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

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/partition/change"
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
	// Elsewhere: the machine has it, but it cannot be written from here.
	Elsewhere State = "elsewhere"
	Unknown   State = "unknown" // it could not be read
)

// Setting is one setting in a plan.
type Setting struct {
	Name    string          `json:"name"`
	State   State           `json:"state"`
	Why     string          `json:"why"`
	Source  string          `json:"source"`
	Reason  string          `json:"reason,omitempty"` // of states other than change and set
	Notes   []string        `json:"notes,omitempty"`
	Changes []change.Change `json:"changes,omitempty"`
	// Short is what the machine has too little of for all changes to take effect.
	Short string `json:"short,omitempty"`

	fixed []int // interrupts that the kernel lets nobody move
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
	p.leaveTasks()
	for _, s := range p.Settings {
		if s.Short != "" {
			p.Warnings = append(p.Warnings, s.Short)
		}
	}
	return p, p.missing(spec)
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
	if dir, found := h.readOnly(f.changes); err == nil && found {
		err = fmt.Errorf("%w: %s is mounted read-only (usual in a container)", errElsewhere, dir)
	}
	switch {
	case errors.Is(err, errLacking), errors.Is(err, errTaken):
		s.State = Lacking
	case errors.Is(err, errElsewhere):
		s.State = Elsewhere
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
	s.Changes, s.Notes, s.Short, s.fixed = f.changes, f.notes, f.short, f.fixed
	return s
}

// missing is about settings that are required, also by asking for what they do.
func (p *Plan) missing(spec Spec) error {
	var names, why []string
	for _, s := range p.Settings {
		required := slices.Contains(spec.Require, s.Name) || s.Name == smtSetting && spec.Siblings == Offline
		if required && (s.State == Lacking || s.State == Unknown || s.State == Elsewhere) {
			names, why = append(names, s.Name), append(why, s.Reason)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("setting %s: %w: %s", strings.Join(names, ", "), ErrRequired, strings.Join(why, "; "))
}

// writable refuses a plan of which something cannot be written from here: half of it
// would isolate nothing.
func (p *Plan) writable() error {
	var names []string
	reason := ""
	for _, s := range p.Settings {
		if s.State == Elsewhere {
			names, reason = append(names, s.Name), s.Reason
		}
	}
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("setting %s: %s (%w); make the partition on the host itself, or leave these out (--skip)", strings.Join(names, ", "), reason, unix.EROFS)
}

// leaveTasks leaves threads where they are if other settings cannot be made.
func (p *Plan) leaveTasks() {
	for _, s := range p.Settings {
		if tasks := p.setting(tasksSetting); s.State == Elsewhere && tasks != nil && tasks.State == Changes {
			tasks.State, tasks.Reason, tasks.Notes = Elsewhere, s.Reason+", so that nothing is made", nil
		}
	}
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
func (p *Plan) All() []change.Change {
	var all []change.Change
	for _, s := range p.Settings {
		all = append(all, s.Changes...)
	}
	return all
}

// tickWarning is a warning of a plan that a grade has as a hazard.
func (h *host) tickWarning() string {
	rest := h.cpus.Minus(h.NohzFull)
	if rest.IsEmpty() {
		return ""
	}
	return fmt.Sprintf("CPU %v: the tick continues there: only booting with nohz_full= stops it; see \"taskiso partition boot\"", rest)
}

// warnings says what about the choice of CPUs cannot be helped by a setting.
func (h *host) warnings() []string {
	var list []string
	warn := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if h.cpus.Contains(0) {
		warn("CPU 0 does work that the kernel gives to no other CPU (timekeeping unless nohz_full= moves it, early interrupts, suspend): isolate another one if you can")
	}
	if shared := h.siblings.Minus(h.cpus).Intersect(h.Online); !shared.IsEmpty() && h.spec.Siblings != Offline {
		warn("CPU %v %s with isolated CPUs and %s them down: isolate them too, or take them offline (--siblings offline)", shared, either(shared, "shares a core", "share cores"), either(shared, "slows", "slow"))
	}
	if h.siblingsError != nil {
		warn("%v", h.siblingsError)
	}
	if warning := h.bannedWarning(); warning != "" {
		warn("%s", warning)
	}
	if near := h.clusterMates(); !near.IsEmpty() {
		warn("CPU %v %s a cluster, and so a cache (mostly L2), with isolated CPUs and %s them down: isolate them too", near, either(near, "shares", "share"), either(near, "slows", "slow"))
	}
	if warning := h.tickWarning(); warning != "" {
		warn("%s", warning)
	}
	h.warnOfIsolated(warn)
	for _, node := range h.nodesWithoutHousekeeping() {
		warn("%s has no CPU for housekeeping: interrupts of its devices and kernel threads for its memory run on another node", node)
	}
	for _, dir := range h.readOnlyDirs() {
		warn("%s is mounted read-only here (usual in a container): nothing below it can be changed from here", dir)
	}
	return list
}

// either chooses the word for one CPU or for several.
func either(cpus cpulist.Set, one, several string) string {
	if cpus.Len() == 1 {
		return one
	}
	return several
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

// readOnlyDirs returns where settings are that cannot be written. A tmpfs on the
// root of cgroups holds the hierarchies of cgroup v1, which are mounts of their own.
func (h *host) readOnlyDirs() []string {
	var list []string
	for _, dir := range []string{"/sys", "/sys/devices", cgroupRoot, "/proc/irq", "/proc/sys"} {
		m := h.mountOf(dir)
		if m.readOnly && m.kind != "tmpfs" && m.dir == dir {
			list = append(list, dir)
		}
	}
	return list
}

// warnOfIsolated says which CPUs are isolated already, by whom, and which others are.
func (h *host) warnOfIsolated(warn func(format string, args ...any)) {
	if atBoot := h.cpus.Intersect(h.bootIsolated); !atBoot.IsEmpty() {
		warn("isolated at boot already, by isolcpus=: CPU %v", atBoot)
	}
	h.warnOfOwners(warn)
	if others := h.bootIsolated.Minus(h.cpus); !others.IsEmpty() {
		warn("isolated at boot by isolcpus=, and not asked for: CPU %v; nothing here changes that", others)
	}
	if dropped := h.dropped(); !dropped.IsEmpty() {
		warn("isolcpus= names CPU %v, and the kernel does not isolate them (%s): see \"taskiso partition boot\"", dropped, isolatedFile)
	}
}

// dropped returns the CPUs that isolcpus= names for nothing.
func (h *host) dropped() cpulist.Set {
	text, err := h.read("/proc/cmdline")
	if err != nil {
		return cpulist.Set{}
	}
	k := kernelLine{host: h, line: arguments(text)}
	return h.cpus.Intersect(k.asked(domainKind)).Minus(h.Isolated)
}
