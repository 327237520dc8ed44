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
		if h.exists(file) {
			f.note("it forgets that when it is started again; %s is left alone: with IRQBALANCE_BANNED_CPULIST=%v there it would start so", file, h.cpus)
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

// bannedWarning warns if the text that irqbalance starts with is not a list of CPUs:
// irqbalance then takes it for an empty list.
func bannedWarning(h *host) string {
	for _, file := range balancerFiles {
		text, err := h.read(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(text) {
			name, value, _ := strings.Cut(strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "export ")), "=")
			value = strings.Trim(strings.TrimSpace(value), `"'`)
			parse := map[string]func(string) (cpulist.Set, error){
				"IRQBALANCE_BANNED_CPULIST": cpulist.Parse, "IRQBALANCE_BANNED_CPUS": cpulist.ParseMask,
			}[name]
			if parse == nil || value == "" {
				continue
			}
			if _, err := parse(value); err != nil {
				return fmt.Sprintf("%s has %s=%s, which bans no CPU: %v", file, name, value, err)
			}
		}
	}
	return ""
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
