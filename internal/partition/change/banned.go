// SPDX-License-Identifier: Apache-2.0

package change

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

// Banned is the CPU list that irqbalance keeps off. It takes the list through a socket (irqbalance.1, API), acts on it
// when it next looks at the interrupts, and forgets it when it ends.
type Banned struct{ List }

// MarshalText returns the name in journals.
func (Banned) MarshalText() ([]byte, error) { return []byte("irqbalance"), nil }

func (Banned) traits() traits { return traits{delegated: true} }

func (Banned) read(files Files, c Change) (string, error) {
	banned, _, err := ReadBanned(files, c.Path)
	return banned.String(), err
}

// ReadBanned returns the CPUs that an irqbalance keeps off, and how long it may
// take until it acts on another list.
func ReadBanned(files Files, socket string) (banned cpulist.Set, round time.Duration, err error) {
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

// apply sends the list; irqbalance acts on it later, which the effect shows.
func (k Banned) apply(files Files, c Change) error { return k.send(files, c, c.To) }

// send sends a list of CPUs, which replaces the one that irqbalance has.
func (Banned) send(files Files, c Change, list string) error {
	// It reads 500 bytes at most (sock_handle), and takes the rest for nothing.
	request := "settings cpus " + list
	if len(request) >= 500 {
		return fmt.Errorf("telling irqbalance at %s: the list of CPUs is longer than it reads: %.40s…", c.Path, list)
	}
	_, err := files.Ask(c.Path, request)
	return err
}

// restore gives irqbalance its list back and waits until it shows it. One
// that has ended, and so forgotten everything, needs nothing.
func (k Banned) restore(files Files, c Change) error {
	_, round, err := ReadBanned(files, c.Path)
	if err == nil {
		err = k.send(files, c, k.before(files, c))
	}
	if err != nil {
		return notGone(err)
	}
	for deadline := time.Now().Add(roundTime(round)); ; time.Sleep(balancerPoll) {
		got, err := k.read(files, c)
		if err != nil || k.same(got, c.From) {
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

// before is what to send for the list that was there. If irqbalance had found the list
// out by itself, it is asked to find it out again, and still follows isolcpus=.
func (k Banned) before(files Files, c Change) string {
	switch own, err := ownList(files, c.Path); {
	case err == nil && k.same(own.String(), c.From):
		return "NULL" // no list
	case c.From == "":
		return "-" // a list that does not parse is an empty one (bitmap_parselist)
	default:
		return c.From
	}
}

// ownList is what irqbalance keeps off if nobody has sent it a list through the socket:
// what it was started with, or else CPUs that the kernel isolates.
func ownList(files Files, socket string) (cpulist.Set, error) {
	pid := strings.TrimSuffix(strings.TrimPrefix(path.Base(socket), "irqbalance"), ".sock")
	environment, err := files.Read("/proc/" + pid + "/environ")
	if err != nil {
		return cpulist.Set{}, err
	}
	switch mask, list := getenv(environment, "IRQBALANCE_BANNED_CPUS"), getenv(environment, "IRQBALANCE_BANNED_CPULIST"); {
	case mask != "": // which goes before the list (setup_banned_cpus)
		return cpulist.ParseMask(mask)
	case list != "":
		return cpulist.Parse(list)
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

// getenv returns a variable of an environment: of several the first, as getenv(3) does.
func getenv(environment, name string) string {
	for _, variable := range strings.Split(environment, "\x00") {
		if value, found := strings.CutPrefix(variable, name+"="); found {
			return value
		}
	}
	return ""
}

// delay is a round of irqbalance, as far as it answers.
func (Banned) delay(files Files, c Change) time.Duration {
	_, round, err := ReadBanned(files, c.Path)
	if err != nil {
		return 0
	}
	return roundTime(round)
}

func (k Banned) outstanding(files Files, c Change) string {
	got, err := k.read(files, c)
	if err != nil || k.same(got, c.To) {
		return ""
	}
	return fmt.Sprintf("irqbalance at %s keeps off %q, not yet %q", c.Path, got, c.To)
}

// governs: interrupts are irqbalance's business, as long as it keeps them off the CPUs.
func (Banned) governs(other Change, got string, cpus cpulist.Set) bool {
	if !strings.HasPrefix(other.Path, "/proc/irq/") || other.Kind != (List{}) {
		return false
	}
	on, err := cpulist.ParseSysfs(got)
	return err == nil && !on.IsEmpty() && on.Intersect(cpus).IsEmpty()
}

func (Banned) describe(c Change) string {
	return fmt.Sprintf("%s: keeps off %s → %s", c.Path, showCPUs(c.From), showCPUs(c.To))
}
