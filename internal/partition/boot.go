// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/taskiso/taskiso/cpulist"
)

// BootWord is one word of the kernel's command line.
type BootWord struct {
	Word  string `json:"word"`
	Gives string `json:"gives"`
	State State  `json:"state"` // change, set, needless or lacking
	// Present is the word of the same parameter that this boot had, if any.
	Present string `json:"present,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// Boot is what a kernel must be booted with for what cannot be set later.
type Boot struct {
	Schema       int         `json:"schema"`
	CPUs         cpulist.Set `json:"cpus"`
	Housekeeping cpulist.Set `json:"housekeeping"`
	Words        []BootWord  `json:"words"`
}

// bootParameter is one that has a value, or a list of CPUs behind a flag.
type bootParameter struct {
	name, value, flag, gives string
	// cpus is the list that is wanted, nil for a parameter with a value.
	cpus func(*host) cpulist.Set
	// enough tells whether a list that is there already will do.
	enough func(h *host, there cpulist.Set) bool
	// without gives a reason why a machine has no use for the parameter.
	without func(*host) error
}

// bootParameters are in Documentation/admin-guide/kernel-parameters.txt of the kernel.
var bootParameters = []bootParameter{
	{
		name: "nohz_full", cpus: isolatedCPUs, enough: coversIsolated,
		gives:   "stops the tick while one task runs, takes RCU callbacks away, and reports every kernel entry (context tracking)",
		without: (*host).withoutFullDynticks,
	},
	{
		name: "isolcpus", flag: "managed_irq", cpus: isolatedCPUs, enough: coversIsolated,
		gives: "keeps interrupts away whose affinity only the kernel sets, as far as they have other CPUs",
	},
	{
		name: "irqaffinity", cpus: housekeepingCPUs, enough: sparesIsolated,
		gives: "keeps interrupts away that drivers set up before a partition is made",
	},
	{
		name: "rcutree.nohz_full_patience_delay", value: "1000",
		gives:   "lets RCU wait a second before it asks a CPU that stays in the kernel for a quiescent state",
		without: (*host).withoutFullDynticks,
	},
	{
		name: "tsc", value: "nowatchdog",
		gives:   "ends the clocksource watchdog, which visits every CPU in turn; only for a TSC known to be good",
		without: (*host).withoutTSC,
	},
	{
		name: "psi", value: "0",
		gives:   "ends the averages of pressure stall information, which per-CPU work computes; systemd-oomd and whoever else reads /proc/pressure has none then",
		without: (*host).withoutPressure,
	},
	{
		name: "mce", value: "ignore_ce",
		gives:   "ends polling and interrupts for corrected machine errors, which then are not logged",
		without: (*host).withoutMachineCheck,
	},
}

func isolatedCPUs(h *host) cpulist.Set     { return h.cpus }
func housekeepingCPUs(h *host) cpulist.Set { return h.housekeeping }

func coversIsolated(h *host, there cpulist.Set) bool { return h.cpus.IsSubsetOf(there) }
func sparesIsolated(h *host, there cpulist.Set) bool { return h.cpus.Intersect(there).IsEmpty() }

// NewBoot tells which words the command line should have. It is as pure as [New].
func NewBoot(spec Spec, files fs.FS) (*Boot, error) {
	spec, err := spec.complete()
	if err != nil {
		return nil, err
	}
	h, err := readHost(spec, files, cpulist.Set{})
	if err != nil {
		return nil, err
	}
	line, err := h.read("/proc/cmdline")
	if err != nil {
		return nil, fmt.Errorf("finding out how this kernel was booted: %w", err)
	}
	b := &Boot{Schema: 1, CPUs: h.cpus, Housekeeping: h.housekeeping}
	for _, parameter := range bootParameters {
		w := parameter.on(h, line)
		if parameter.without != nil {
			w.exclude(parameter.without(h))
		}
		b.Words = append(b.Words, w)
	}
	return b, nil
}

// on compares what is wanted with the command line. What other words wanted
// before, further CPUs or flags, stays in the new word.
func (p bootParameter) on(h *host, line string) BootWord {
	w := BootWord{Gives: p.gives, State: Changes, Present: present(line, p.name)}
	_, there, _ := strings.Cut(w.Present, "=")
	if p.cpus == nil {
		w.Word = p.name + "=" + p.value
		if there == p.value {
			w.State = Set
		}
		return w
	}
	flags, list := flagsAndList(there)
	cpus := p.cpus(h)
	last, _ := h.possible.Last()
	if set, err := cpulist.ParseMax(list, last); err == nil {
		if p.enough(h, set) {
			cpus = set
			if p.flag == "" || slices.Contains(flags, p.flag) {
				w.State = Set
			}
		} else if p.enough(h, set.Union(cpus)) {
			cpus = set.Union(cpus)
		}
	}
	if len(flags) == 0 && w.Present != "" && p.flag != "" {
		flags = append(flags, "domain") // what the kernel takes when none is given
	}
	if p.flag != "" && !slices.Contains(flags, p.flag) {
		flags = append(flags, p.flag)
	}
	w.Word = p.name + "=" + strings.Join(append(flags, cpus.String()), ",")
	return w
}

// flagsAndList splits "managed_irq,domain,2-3".
func flagsAndList(value string) (flags []string, list string) {
	for value != "" && !strings.ContainsAny(value[:1], "0123456789N") {
		flag, rest, more := strings.Cut(value, ",")
		if !more || flag == "all" {
			break
		}
		flags, value = append(flags, flag), rest
	}
	return flags, value
}

func (w *BootWord) exclude(err error) {
	if err == nil {
		return
	}
	w.State, w.Reason = Needless, err.Error()
	if errors.Is(err, errLacking) {
		w.State = Lacking
	}
}

// present returns the word of a parameter on a command line; the last one counts.
func present(line, name string) string {
	last := ""
	for _, word := range strings.Fields(line) {
		if word == "--" {
			break // what follows is for init
		}
		if key, _, _ := strings.Cut(word, "="); key == name {
			last = word
		}
	}
	return last
}

// Line returns the words that are missing or different on the command line.
func (b *Boot) Line() string {
	var words []string
	for _, w := range b.Words {
		if w.State == Changes {
			words = append(words, w.Word)
		}
	}
	return strings.Join(words, " ")
}

func (h *host) withoutFullDynticks() error {
	if !h.exists("/sys/devices/system/cpu/nohz_full") {
		return fmt.Errorf("this kernel is built without CONFIG_NO_HZ_FULL: %w", errLacking)
	}
	return nil
}

func (h *host) withoutTSC() error {
	const file = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
	name, err := h.read(file)
	if err == nil && name != "tsc" {
		return fmt.Errorf("the clocksource is %s, not tsc: %w", name, errNeedless)
	}
	return err
}

func (h *host) withoutPressure() error {
	if !h.exists("/proc/pressure") {
		return fmt.Errorf("no /proc/pressure: %w", errNeedless)
	}
	return nil
}

func (h *host) withoutMachineCheck() error {
	if !h.exists("/sys/devices/system/machinecheck") {
		return fmt.Errorf("no /sys/devices/system/machinecheck: %w", errLacking)
	}
	return nil
}
