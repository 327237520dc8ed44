// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/taskiso/taskiso/cpulist"
)

// irqbalance spreads interrupts over all CPUs that it is not banned from. It says
// and takes the list through a socket (irqbalance.1, API), acts on it when it
// next looks at the interrupts, and forgets it when it ends.

const balancerSetting = "irqbalance"

// balancerSockets is where each irqbalance has a socket, with its number.
const balancerSockets = "/run/irqbalance/irqbalance*.sock"

// balancerFiles have what irqbalance starts with: of Debian, and of Fedora and SUSE.
var balancerFiles = []string{"/etc/default/irqbalance", "/etc/sysconfig/irqbalance"}

func planBalancer(h *host) (found, error) {
	f := found{later: true}
	if _, err := h.glob(balancerSockets); err != nil {
		return f, h.withoutBalancerSocket()
	}
	f.note("irqbalance is asked to keep off CPU %v when the partition is made, and does so at its next round (10 seconds by default)", h.cpus)
	for _, file := range balancerFiles {
		if h.exists(file) {
			f.note("it forgets that when it is started again; %s is left alone: with IRQBALANCE_BANNED_CPULIST=%v there it would start so", file, h.cpus)
		}
	}
	return f, nil
}

// withoutBalancerSocket says whether an irqbalance runs that cannot be told. Older
// ones listen on an abstract socket, which has no file (irqbalance.c: init_socket).
func (h *host) withoutBalancerSocket() error {
	running := processes(h.files)
	if pid, runs := running["irqbalance"]; runs {
		return fmt.Errorf("irqbalance (process %d) runs without a socket %s, as older versions do, and cannot be asked: ban CPU %v with IRQBALANCE_BANNED_CPULIST or IRQBALANCE_BANNED_CPUS where its service is configured, and restart it: %w", pid, balancerSockets, h.cpus, errTaken)
	}
	if len(running) == 0 {
		return fmt.Errorf("there is no socket %s, and no process can be seen here: an older irqbalance has no such socket", balancerSockets)
	}
	return fmt.Errorf("irqbalance does not run: %w", errNeedless)
}

// bannedWarning says that what irqbalance starts with is no list of CPUs, which it
// then takes for an empty one.
func (h *host) bannedWarning() string {
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

// addBalancers adds what each irqbalance that runs is to be told.
func (p *Plan) addBalancers(files Files, view fs.FS) {
	s := p.setting(balancerSetting)
	if s == nil || s.State != Changes {
		return
	}
	sockets, err := fs.Glob(view, strings.TrimPrefix(balancerSockets, "/"))
	if err != nil {
		s.State, s.Reason = Unknown, err.Error()
		return
	}
	answered := false
	for _, name := range sockets {
		socket := "/" + name
		banned, _, err := readBanned(files, socket)
		if errors.Is(err, fs.ErrNotExist) {
			continue // left behind by one that was killed
		}
		if err != nil {
			s.State, s.Reason, s.Changes, s.Notes = Unknown, err.Error(), nil, nil
			return
		}
		answered = true
		if !p.CPUs.IsSubsetOf(banned) {
			s.Changes = append(s.Changes, Change{Path: socket, From: banned.String(), To: banned.Union(p.CPUs).String(), Form: Banned})
		}
	}
	if !answered {
		s.State, s.Reason, s.Notes = Needless, "irqbalance does not run: nobody answers at "+balancerSockets, nil
	} else if len(s.Changes) == 0 {
		s.State = Set
	}
}

// readBanned returns the CPUs that an irqbalance keeps off, and how long it may
// take until it acts on another list.
func readBanned(files Files, socket string) (banned cpulist.Set, round time.Duration, err error) {
	answer, err := files.Ask(socket, "setup")
	if err != nil {
		return cpulist.Set{}, 0, err
	}
	banned, round, err = parseSetup(answer)
	if err != nil {
		err = fmt.Errorf("asking %s for its setup: %w", socket, err)
	}
	return banned, round, err
}

// parseSetup reads "SLEEP 10 IRQ 24 LOAD … BANNED 0000000c": seconds, interrupts
// that are left alone, a mask.
func parseSetup(answer string) (banned cpulist.Set, round time.Duration, err error) {
	fields := strings.Fields(answer)
	if n := len(fields); n < 4 || fields[0] != "SLEEP" || fields[n-2] != "BANNED" {
		return banned, 0, fmt.Errorf("the answer %.80q is not \"SLEEP seconds … BANNED mask\"", answer)
	}
	const day = 24 * 60 * 60
	seconds, err := strconv.Atoi(fields[1])
	if err != nil || seconds < 1 || seconds > day {
		return banned, 0, fmt.Errorf("the answer %.80q has no seconds between 1 and %d", answer, day)
	}
	banned, err = cpulist.ParseMask(fields[len(fields)-1])
	return banned, time.Duration(seconds) * time.Second, err
}

// ban sends a list of CPUs, which replaces the one that irqbalance has.
func (c Change) ban(files Files, list string) error {
	// It reads 500 bytes at most (sock_handle), and takes the rest for nothing.
	request := "settings cpus " + list
	if len(request) >= 500 {
		return fmt.Errorf("telling irqbalance at %s: the list of CPUs is longer than it reads: %.40s…", c.Path, list)
	}
	_, err := files.Ask(c.Path, request)
	return err
}

// restoreBanned gives irqbalance its list back and waits until it shows it. One
// that has ended, and so forgotten everything, needs nothing.
func (c Change) restoreBanned(files Files) error {
	_, round, err := readBanned(files, c.Path)
	if err == nil {
		err = c.ban(files, c.listBefore(files))
	}
	if err != nil {
		return notGone(err)
	}
	for deadline := time.Now().Add(roundTime(round)); ; time.Sleep(balancerPoll) {
		got, err := c.read(files)
		if err != nil || c.Form.same(got, c.From) {
			return notGone(err)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("irqbalance at %s still keeps off CPU %s, and has not taken back %q", c.Path, got, c.From)
		}
	}
}

// balancerPoll is how often irqbalance is asked whether it has taken a list.
const balancerPoll = 100 * time.Millisecond

// roundTime is when a list should have been taken: irqbalance looks once a round,
// and is not exact.
func roundTime(round time.Duration) time.Duration { return round + 2*time.Second }

// listBefore is what to send for the list that was there. The one that irqbalance
// finds out by itself it is told to find out again; so it still follows isolcpus=.
func (c Change) listBefore(files Files) string {
	switch own, err := c.ownList(files); {
	case err == nil && c.Form.same(own.String(), c.From):
		return "NULL" // no list
	case c.From == "":
		return "-" // a list that does not parse is an empty one (bitmap_parselist)
	default:
		return c.From
	}
}

// ownList is what irqbalance keeps off if nobody has told it through the socket:
// what it was started with, or else CPUs that the kernel isolates.
func (c Change) ownList(files Files) (cpulist.Set, error) {
	pid := strings.TrimSuffix(strings.TrimPrefix(path.Base(c.Path), "irqbalance"), ".sock")
	environment, err := files.Read("/proc/" + pid + "/environ")
	if err != nil {
		return cpulist.Set{}, err
	}
	for _, variable := range strings.Split(environment, "\x00") {
		name, value, _ := strings.Cut(variable, "=")
		switch {
		case value == "":
		case name == "IRQBALANCE_BANNED_CPUS":
			return cpulist.ParseMask(value)
		case name == "IRQBALANCE_BANNED_CPULIST":
			return cpulist.Parse(value)
		}
	}
	var own cpulist.Set
	for _, file := range []string{"isolated", "nohz_full"} {
		text, err := files.Read("/sys/devices/system/cpu/" + file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return own, err
		}
		set, err := cpulist.ParseSysfs(text)
		if err != nil {
			return own, err
		}
		own = own.Union(set)
	}
	return own, nil
}

// missedBalancer finds an irqbalance that has not taken its list yet.
func (s *Store) missedBalancer(changes []Change, miss func(setting, format string, args ...any)) {
	for _, c := range changes {
		if c.Form != Banned {
			continue
		}
		got, err := c.read(s.files)
		if err == nil && !c.Form.same(got, c.To) {
			miss(balancerSetting, "irqbalance at %s keeps off %q, not yet %q", c.Path, got, c.To)
		}
	}
}

// effectTimeOf is how long the effect of changes may take.
func (s *Store) effectTimeOf(changes []Change) time.Duration {
	longest := effectTime
	for _, c := range changes {
		if c.Form != Banned {
			continue
		}
		if _, round, err := readBanned(s.files, c.Path); err == nil {
			longest = max(longest, roundTime(round))
		}
	}
	return longest
}

// leftToBalancer tells whether a value is one that irqbalance chose, which spares
// the CPUs since it was told to: interrupts are its business, not foreign.
func (j *journal) leftToBalancer(c Change, got string) bool {
	told := false
	for _, other := range j.changes {
		told = told || other.Form == Banned
	}
	if !told || !strings.HasPrefix(c.Path, "/proc/irq/") || c.Form != List {
		return false
	}
	on, err := cpulist.ParseSysfs(got)
	return err == nil && !on.IsEmpty() && on.Intersect(j.CPUs).IsEmpty()
}
