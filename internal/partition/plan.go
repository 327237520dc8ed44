// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"fmt"
	"slices"
	"strings"

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
	// Refused: it would be changed, but nothing of this plan is made.
	Refused State = "refused"
)

// When is the time at which an interruption can be removed.
type When string

// Answers to when.
const (
	Now    When = "now"     // by making a partition
	Reboot When = "reboot"  // only by words on the kernel's command line
	Never  When = "never"   // by nothing that this kernel has
	Maybe  When = "unknown" // it could not be read whether there is anything to end, or whether that ends it
	// There: by making a partition, but not from here, for example in a container.
	There When = "elsewhere"
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

	fixed    []int  // interrupts that the kernel lets nobody move
	goesOn   When   // of a setting that the machine lacks: when the interruption can be removed that the setting would remove
	readOnly string // the mount that it cannot be written on
}

// Plan is what would be done for a spec on a machine.
type Plan struct {
	Schema       int         `json:"schema"`
	Name         string      `json:"name"`
	CPUs         cpulist.Set `json:"cpus"`
	Housekeeping cpulist.Set `json:"housekeeping"`
	Profile      string      `json:"profile"`
	Partition    string      `json:"partition"`
	Refused      string      `json:"refused,omitempty"` // why [Store.Create] makes nothing of it
	Warnings     []string    `json:"warnings,omitempty"`
	Settings     []Setting   `json:"settings"`

	refusal error // its text is Refused
}

// ErrRequired means that a setting that the spec requires is not possible, or that this is not known.
var ErrRequired = errors.New("required, but not possible here")

// asks reports whether a spec asks for what a setting does only on request.
func (s Spec) asks(setting string) bool {
	switch setting {
	case smtSetting:
		return s.Siblings == Offline
	case cacheSetting:
		return s.CacheWays > 0
	case cycleSetting:
		return s.Cycle
	}
	return false
}

// missing is about settings that are required, by name or by an option that needs them.
func (p *Plan) missing(spec Spec) error {
	impossible, whyNot := p.required(spec, Lacking, Elsewhere, Refused)
	unknown, why := p.required(spec, Unknown)
	var problems []string
	if impossible != "" {
		problems = append(problems, fmt.Sprintf("setting %s: %v: %s", impossible, ErrRequired, whyNot))
	}
	if unknown != "" {
		problems = append(problems, fmt.Sprintf("setting %s: required, but whether it is possible here is not known: %s; find that out, or do without requiring it", unknown, why))
	}
	if len(problems) == 0 {
		return nil
	}
	return because(ErrRequired, "%s", strings.Join(problems, "; "))
}

// required returns the names of the settings in some states that the spec requires, and the reasons.
func (p *Plan) required(spec Spec, states ...State) (names, reasons string) {
	var list, why []string
	for _, s := range p.Settings {
		if (slices.Contains(spec.Require, s.Name) || spec.asks(s.Name)) && slices.Contains(states, s.State) {
			list, why = append(list, s.Name), append(why, s.Reason)
		}
	}
	return strings.Join(list, ", "), strings.Join(why, "; ")
}

// writable refuses a plan with a change that cannot be written from here: half of a plan
// would isolate nothing.
func (p *Plan) writable() error {
	var names, dirs []string
	for _, s := range p.Settings {
		if s.State != Elsewhere {
			continue
		}
		names = append(names, s.Name)
		if !slices.Contains(dirs, s.readOnly) {
			dirs = append(dirs, s.readOnly)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("some settings are on a %w (usual in a container), in %s; make the partition on the host itself, or leave them out: --skip %s",
		unix.EROFS, strings.Join(dirs, ", "), strings.Join(names, ","))
}

// refuse takes out of a plan what would be changed: nothing of it is made.
func (p *Plan) refuse(err error) {
	p.refusal, p.Refused = err, err.Error()
	for i := range p.Settings {
		if s := &p.Settings[i]; s.State == Changes {
			s.State, s.Reason, s.Changes, s.Notes, s.Short = Refused, "nothing is made of a plan that is refused", nil, nil, ""
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

// tellsBalancer reports whether each irqbalance that runs keeps off the CPUs, or will.
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
