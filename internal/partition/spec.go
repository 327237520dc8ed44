// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/specfile"
)

// Profiles.
const (
	// Latency makes every setting.
	Latency = "latency"
	// Throughput moves work to other CPUs, but switches nothing off for the
	// whole machine.
	Throughput = "throughput"
)

// Kinds of cpuset partitions.
const (
	Isolated = "isolated" // without load balancing
	Root     = "root"     // with load balancing among the isolated CPUs
	None     = "none"     // no cpuset partition
)

const defaultName = "default"

// Names of the settings that a spec, or another setting, is about.
const (
	balancerSetting = "irqbalance"
	cacheSetting    = "cache"
	cpusetSetting   = "cpuset"
	cycleSetting    = "cycle"
	smtSetting      = "smt"
	tasksSetting    = "tasks"
)

// What becomes of the other hardware threads of isolated cores.
const (
	Keep    = "keep"
	Offline = "offline"
)

// Spec selects the CPUs to set apart, and the settings. It is the content of a
// spec.toml; an empty field stands for its default.
type Spec struct {
	Name         string   `json:"name"`
	CPUs         string   `json:"cpus"`
	Housekeeping string   `json:"housekeeping,omitempty"` // default: all others
	Profile      string   `json:"profile"`                // default: latency
	Partition    string   `json:"partition"`              // default: isolated
	Cycle        bool     `json:"cycle,omitempty"`        // take the CPUs offline and online first
	CacheWays    int      `json:"cache_ways,omitempty"`   // of the last cache, for these CPUs alone
	Siblings     string   `json:"siblings,omitempty"`     // default: keep
	Skip         []string `json:"skip,omitempty"`         // settings to leave alone
	Require      []string `json:"require,omitempty"`      // settings that must be possible
}

// nameForm keeps a name one component of a path, and not hidden.
var nameForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{0,63}$`)

func (s *Spec) keys() []specfile.Key {
	return []specfile.Key{
		{Name: "name", Field: &s.Name}, {Name: "cpus", Field: &s.CPUs}, {Name: "housekeeping", Field: &s.Housekeeping},
		{Name: "profile", Field: &s.Profile}, {Name: "partition", Field: &s.Partition}, {Name: "cycle", Field: &s.Cycle},
		{Name: "cache_ways", Field: &s.CacheWays}, {Name: "siblings", Field: &s.Siblings}, {Name: "skip", Field: &s.Skip}, {Name: "require", Field: &s.Require},
	}
}

// checkList refuses what is a CPU list on no machine.
func checkList(what, text string) error {
	if text == "" {
		return nil
	}
	if _, err := cpulist.ParseMax(text, cpulist.MaxCPU); err != nil && !errors.Is(err, cpulist.ErrRange) { // the machine decides which CPUs exist
		return wrong("%s: %w", what, err)
	}
	return nil
}

// ErrSpec matches errors of a spec that has no meaning on this machine, or on any.
var ErrSpec = errors.New("wrong spec")

// wrongSpec is an error that matches [ErrSpec] without its text.
type wrongSpec struct{ error }

func (wrongSpec) Is(target error) bool { return target == ErrSpec }

func (w wrongSpec) Unwrap() error { return w.error }

func wrong(format string, args ...any) error { return wrongSpec{fmt.Errorf(format, args...)} }
