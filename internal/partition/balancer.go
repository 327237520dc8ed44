// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/partition/change"
)

// irqbalance spreads interrupts over all CPUs that it is not banned from. It shows
// and takes the list through a socket (irqbalance.1, API), acts on it when it
// next looks at the interrupts, and forgets it when it ends.

// balancerSockets is where each irqbalance has a socket, with its number.
const balancerSockets = "/run/irqbalance/irqbalance*.sock"

// balancerFiles have what irqbalance starts with: of Debian, and of Fedora and SUSE.
var balancerFiles = []string{"/etc/default/irqbalance", "/etc/sysconfig/irqbalance"}

func balancerKnob() knob {
	return knob{
		name: balancerSetting,
		why:  "irqbalance moves interrupts to any CPU that it is not kept off",
		// There is nothing of it in the kernel.
		source: "irqbalance: irqbalance.1, API; cputree.c: setup_banned_cpus",
		plan:   planBalancer,
		rate:   rate{perHour: 15000, text: "each interrupt that it moves there"},
		finish: finishBalancer,
		reads:  []string{"run/irqbalance/irqbalance*.sock", "etc/default/irqbalance", "etc/sysconfig/irqbalance"},
	}
}

func planBalancer(h *host) (found, error) {
	f := found{later: true}
	if _, err := h.glob(balancerSockets); err != nil {
		return f, withoutBalancerSocket(h)
	}
	f.note("irqbalance is asked to keep off CPU %v when the partition is made, and does so at its next round (10 seconds by default)", h.cpus)
	for _, file := range balancerFiles {
		if text, err := h.read(file); err == nil {
			f.note("%s", startNote(h, file, text))
		} else if h.exists(file) {
			f.note("it forgets that when it is started again; what it starts with then is not known: %v", err)
		}
	}
	return f, nil
}

// withoutBalancerSocket returns an error if an irqbalance runs that takes no list. Older
// ones listen on an abstract socket, which has no file (irqbalance.c: init_socket).
func withoutBalancerSocket(h *host) error {
	running := processes(h.files)
	if pid, runs := running["irqbalance"]; runs {
		return because(errTaken, "irqbalance (process %d) runs without a socket %s, as older versions do, and cannot be asked: ban CPU %v with IRQBALANCE_BANNED_CPULIST or IRQBALANCE_BANNED_CPUS where its service is configured, and restart it", pid, balancerSockets, h.cpus)
	}
	if len(running) == 0 {
		return fmt.Errorf("there is no socket %s, and no process can be seen here: an older irqbalance has no such socket", balancerSockets)
	}
	return because(errNeedless, "irqbalance does not run")
}

// The variables with the CPUs that irqbalance keeps off: a list, and a mask, which goes before it (setup_banned_cpus).
const (
	bannedList = "IRQBALANCE_BANNED_CPULIST"
	bannedMask = "IRQBALANCE_BANNED_CPUS"
)

// startList is what irqbalance starts with by one of its files.
type startList struct {
	name, value string
	banned      cpulist.Set
	err         error  // the value is not what it should be, and bans no CPU
	hidden      string // the list that a mask goes before
}

// startListIn reads such a file, of which systemd and a shell take the last line for each variable.
func startListIn(text string) startList {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "export ")), "=")
		values[name] = strings.Trim(strings.TrimSpace(value), `"'`)
	}
	s := startList{name: bannedList, value: values[bannedList]}
	parse := cpulist.Parse
	if mask := values[bannedMask]; mask != "" {
		s.hidden, s.name, s.value, parse = s.value, bannedMask, mask, cpulist.ParseMask
	}
	if s.value != "" {
		s.banned, s.err = parse(s.value)
	}
	return s
}

// bannedWarning warns of a list that counts for nothing: irqbalance takes one that it cannot read for an empty one.
func bannedWarning(h *host) string {
	for _, file := range balancerFiles {
		text, err := h.read(file)
		if err != nil {
			continue
		}
		switch s := startListIn(text); {
		case s.err != nil:
			return fmt.Sprintf("%s has %s=%s, which bans no CPU: %v", file, s.name, s.value, s.err)
		case s.hidden != "":
			return fmt.Sprintf("%s has %s=%s, which goes before %s=%s: it keeps off %s", file, s.name, s.value, bannedList, s.hidden, orNone(s.banned))
		}
	}
	return ""
}

// startNote returns what irqbalance does when it is started again, by one of its files.
func startNote(h *host, file, text string) string {
	s := startListIn(text)
	switch {
	case s.value != "" && s.err == nil && h.cpus.IsSubsetOf(s.banned):
		return fmt.Sprintf("when it is started again it forgets that, and keeps off CPU %v, as %s has it", s.banned, file)
	case s.name == bannedMask:
		return fmt.Sprintf("it forgets that when it is started again; %s is left alone: with %s=%v there, and without %s, it would start so", file, bannedList, h.cpus, bannedMask)
	}
	return fmt.Sprintf("it forgets that when it is started again; %s is left alone: with %s=%v there it would start so", file, bannedList, h.cpus)
}

// finishBalancer adds what each irqbalance that runs is asked.
func finishBalancer(s *Setting, on running) error {
	if s.State != Changes {
		return nil
	}
	sockets, err := fs.Glob(on.view, strings.TrimPrefix(balancerSockets, "/"))
	if err != nil {
		s.State, s.Reason = Unknown, err.Error()
		return nil
	}
	answered := false
	for _, name := range sockets {
		socket := "/" + name
		banned, _, err := change.ReadBanned(on.files, socket)
		if errors.Is(err, fs.ErrNotExist) {
			continue // left behind by one that was killed
		}
		if err != nil {
			s.State, s.Reason, s.Changes, s.Notes = Unknown, err.Error(), nil, nil
			return nil
		}
		answered = true
		if !on.cpus.IsSubsetOf(banned) {
			s.Changes = append(s.Changes, change.Change{Path: socket, From: banned.String(), To: banned.Union(on.cpus).String(), Kind: change.Banned{}})
		}
	}
	if !answered {
		s.State, s.Reason, s.Notes = Needless, "irqbalance does not run: nobody answers at "+balancerSockets, nil
	} else if len(s.Changes) == 0 {
		s.State = Set
	}
	return nil
}
