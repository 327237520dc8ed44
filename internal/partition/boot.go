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

// Boot lists the boot parameters for everything that cannot be set later.
type Boot struct {
	Schema       int         `json:"schema"`
	CPUs         cpulist.Set `json:"cpus"`
	Housekeeping cpulist.Set `json:"housekeeping"`
	Warnings     []string    `json:"warnings,omitempty"`
	Words        []BootWord  `json:"words"`
}

// bootParameter is one parameter of the kernel.
type bootParameter struct {
	name, gives string
	// judge decides what the word should be, and whether it is in effect.
	judge func(*kernelLine, *BootWord)
}

// bootParameters are in Documentation/admin-guide/kernel-parameters.txt of the kernel.
func bootParameters() []bootParameter {
	return []bootParameter{
		{
			"nohz_full", "stops the tick while one task runs, takes RCU callbacks away, and reports every kernel entry (context tracking)",
			(*kernelLine).judgeTick,
		},
		{
			"isolcpus", "keeps interrupts away whose affinity only the kernel sets, as far as they have other CPUs",
			(*kernelLine).judgeIsolation,
		},
		{
			"nohz", "lets any tick be stopped",
			(*kernelLine).judgeAnyTick,
		},
		{
			"irqaffinity", "keeps interrupts away that drivers set up before a partition is made",
			(*kernelLine).judgeInterrupts,
		},
		{
			patienceParameter, "lets RCU wait a second before it asks a CPU that stays in the kernel for a quiescent state",
			(*kernelLine).judgePatience,
		},
		{
			"tsc", "ends the clocksource watchdog, which visits every CPU in turn; only for a TSC known to be good",
			(*kernelLine).judgeClock,
		},
		{
			"psi", "ends the averages of pressure stall information, which per-CPU work computes; systemd-oomd and other readers of /proc/pressure have none then",
			(*kernelLine).judgePressure,
		},
		{
			"mce", "ends polling and interrupts for corrected machine errors, which then are not logged",
			(*kernelLine).judgeMachineCheck,
		},
	}
}

// NewBoot returns the words that the command line should have. It is as pure as [New].
func NewBoot(spec Spec, files fs.FS) (*Boot, error) {
	spec, err := spec.complete()
	if err != nil {
		return nil, err
	}
	h, err := readHost(spec, files, cpulist.Set{})
	if err != nil {
		return nil, err
	}
	text, err := h.read("/proc/cmdline")
	if err != nil {
		return nil, fmt.Errorf("finding out how this kernel was booted: %w", err)
	}
	k := newKernelLine(h, text)
	b := &Boot{Schema: 1, CPUs: h.cpus, Housekeeping: h.housekeeping, Warnings: append(k.warnings(), lineWarnings(text)...)}
	for _, parameter := range bootParameters() {
		w := BootWord{Gives: parameter.gives, State: Changes, Present: k.present(parameter.name)}
		parameter.judge(k, &w)
		if w.Word == "" {
			continue // nothing to propose or to report
		}
		k.settle(parameter.name, w)
		b.Words = append(b.Words, w)
	}
	k.check(b)
	return b, nil
}

// settle notes which CPUs are isolated by a word, after the next boot.
func (k *kernelLine) settle(name string, w BootWord) {
	tick, isolated := k.lists()
	switch {
	case name == "nohz_full" && w.State == Changes:
		k.stay = k.stay.Union(tick)
	case name == "nohz_full":
		k.stay = k.stay.Union(k.taken[tickKind])
	case name == "isolcpus" && w.State == Changes:
		k.stay = k.stay.Union(isolated)
	case name == "isolcpus":
		k.stay = k.stay.Union(k.taken[domainKind])
	}
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

// judgeAnyTick proposes a word only where another has switched it off for all CPUs,
// also those in the mask of nohz_full= (tick_nohz_activate, tick_nohz_full_update_tick).
func (k *kernelLine) judgeAnyTick(w *BootWord) {
	if k.hasTick && ticksForever(k.line) {
		w.Word = "nohz=on"
		w.because("with nohz=off the tick is never stopped, also not on CPUs of nohz_full=; the last of these words counts")
	}
}

// ticksForever reports whether the command line has the kernel stop no tick.
func ticksForever(line []argument) bool {
	return isOff(line, "nohz")
}

// isOff reports whether the last word of a parameter that has a meaning switches it off: kstrtobool of the kernel's
// lib/kstrtox.c looks at one or two letters.
func isOff(line []argument, name string) bool {
	off := false
	for _, a := range named(line, name) {
		switch v := strings.ToLower(a.value); {
		case strings.HasPrefix(v, "n"), strings.HasPrefix(v, "f"), strings.HasPrefix(v, "0"), strings.HasPrefix(v, "of"):
			off = true
		case strings.HasPrefix(v, "y"), strings.HasPrefix(v, "t"), strings.HasPrefix(v, "1"), strings.HasPrefix(v, "on"):
			off = false
		}
	}
	return off
}

func (k *kernelLine) judgeTick(w *BootWord) {
	cpus, _ := k.lists()
	w.Word = "nohz_full=" + cpus.String()
	if !k.hasTick {
		w.is(Lacking, "this kernel is built without CONFIG_NO_HZ_FULL")
		return
	}
	there := k.taken[tickKind]
	if cpus == there {
		w.State = Set
		if len(named(k.line, "nohz_full")) == 0 {
			w.because("by the flag nohz of isolcpus=")
		}
		if ticksForever(k.line) {
			w.because("without effect as long as nohz=off is there")
		}
		k.nameOthers(w, there, "has no tick either", "have no tick either")
		return
	}
	missed := k.cpus.Minus(there).Intersect(askedFor(tickKind, k.line, k.Possible))
	if missed == bootCPU() && !there.IsEmpty() {
		w.is(Lacking, "nohz_full= names CPU 0 already, and %s has only CPU %v: this kernel keeps the boot CPU for timekeeping", nohzFullFile, there)
		return
	}
	if !missed.IsEmpty() && !k.explained {
		w.is(Unknown, "the command line names CPU %v already, and %s has %v: \"dmesg | grep -i -e housekeeping -e nohz\" shows why", missed, nohzFullFile, orNone(there))
		return
	}
	if !missed.IsEmpty() {
		w.because("it is there, and not in effect: %s has %v", nohzFullFile, orNone(there))
	}
	k.nameLost(w, there, cpus, "has no tick now", "have no tick now")
}

// judgeIsolation is about isolcpus=, for the flag managed_irq. The other effects of the
// parameter are kept as an administrator chose them.
func (k *kernelLine) judgeIsolation(w *BootWord) {
	_, cpus := k.lists()
	domain, there := k.wantsDomain(), k.taken[domainKind]
	w.Word = "isolcpus=" + k.flagsFor(domain) + cpus.String()
	missed := k.cpus.Minus(there).Intersect(askedFor(domainKind, k.line, k.Possible))
	known := k.all(func(r release) bool { return r >= managedSince })
	never := k.all(func(r release) bool { return r < managedSince })
	managed := k.cpus.IsSubsetOf(k.taken[managedKind])
	switch {
	case missed == bootCPU() && !k.explained:
		w.is(Lacking, "isolcpus= names CPU 0 already, and %s has %v: a kernel that knows no other CPU yet when it reads the list keeps the boot CPU for housekeeping; use a cpuset partition (cgroup v2), or another CPU", isolatedFile, orNone(there))
	case !missed.IsEmpty() && !k.explained:
		w.is(Unknown, "isolcpus= names CPU %v already, and %s has %v: \"dmesg | grep -i -e housekeeping -e isolcpus\" shows why", missed, isolatedFile, orNone(there))
	case managed && missed.IsEmpty() && cpus.IsSubsetOf(k.taken[managedKind]) && !k.repeatsTick():
		w.State, w.Word = Set, k.asItIs("isolcpus")
		k.nameOthers(w, there, "is isolated at boot too", "are isolated at boot too")
	case !known && domain && !k.cpus.IsSubsetOf(there) && !there.IsEmpty():
		w.Word = "isolcpus=" + cpus.String()
		w.because("without managed_irq: %s", ignoresFlag(never))
		k.nameLost(w, there, cpus, "is isolated at boot now", "are isolated at boot now")
	case never:
		w.is(Lacking, "%s%s", ignoresFlag(never), k.leaveDomain(there))
	case !known && k.managedIfKnown():
		w.is(Set, "as on the command line: no file shows whether the kernel did it; a kernel before %v (see \"uname -r\") ignores the whole parameter", managedSince)
		w.Word = k.asItIs("isolcpus")
	case !known && !there.IsEmpty():
		w.is(Unknown, "%s%s", ignoresFlag(never), k.leaveDomain(there))
	default:
		if !known {
			w.because("%s", ignoresFlag(never))
		}
		if !missed.IsEmpty() {
			w.because("it is there, and not in effect: %s has %v%s", isolatedFile, orNone(there), k.whyDropped())
		}
		k.nameLost(w, there, cpus, "is isolated at boot now", "are isolated at boot now")
	}
}

// flagsFor returns the flags that the new word should have. The flag nohz stays where
// it is all that stops the tick.
func (k *kernelLine) flagsFor(domain bool) string {
	flags := ""
	tick, _ := k.lists()
	if tick == k.taken[tickKind] && len(named(k.line, "nohz_full")) == 0 && k.hasTick {
		flags += "nohz,"
	}
	if domain {
		flags += "domain,"
	}
	return flags + "managed_irq,"
}

// whyDropped returns the reason why this kernel has ignored isolcpus=.
func (k *kernelLine) whyDropped() string {
	if len(named(k.line, "nohz_full")) > 0 && k.all(func(r release) bool { return r >= onceSince }) {
		return "; this kernel ignores isolcpus= with the flag nohz after nohz_full= (cause isolcpus-dropped)"
	}
	if len(named(k.line, "isolcpus")) > 1 {
		return "; of several isolcpus= a kernel takes the one that comes first, unless the others agree with it"
	}
	return ""
}

func ignoresFlag(never bool) string {
	if never {
		return fmt.Sprintf("this kernel does not know the flag managed_irq (Linux %v and later do) and would ignore the whole parameter", managedSince)
	}
	return fmt.Sprintf("a kernel before %v (see \"uname -r\") does not know the flag managed_irq and ignores the whole parameter", managedSince)
}

// leaveDomain returns what becomes of isolcpus= without the flag.
func (k *kernelLine) leaveDomain(there cpulist.Set) string {
	if there.IsEmpty() {
		return fmt.Sprintf("; isolcpus=%v, without it, keeps only the load balancer off", k.cpus)
	}
	return fmt.Sprintf("; leave isolcpus= as it is, which keeps the load balancer off CPU %v", there)
}

// nameLost names CPUs that have now what they do not have with the new word.
func (k *kernelLine) nameLost(w *BootWord, there, cpus cpulist.Set, has, have string) {
	if lost := there.Minus(cpus); !lost.IsEmpty() {
		w.because("CPU %v %s: with this word that ends; %s", lost, either(lost, has+" and was not asked for", have+" and were not asked for"), k.keeping(there))
	}
}

// keeping returns how CPUs that are set apart now stay so. Only CPUs that are online can be asked for.
func (k *kernelLine) keeping(there cpulist.Set) string {
	all := k.cpus.Union(there)
	if offline := all.Minus(k.Online); !offline.IsEmpty() {
		return fmt.Sprintf("name CPU %v in it to keep them (CPU %v %s offline)", all, offline, either(offline, "is", "are"))
	}
	return fmt.Sprintf("ask for %v to keep them", all)
}

// nameOthers names CPUs that have it and were not asked for.
func (k *kernelLine) nameOthers(w *BootWord, there cpulist.Set, has, have string) {
	if others := there.Minus(k.cpus); !others.IsEmpty() {
		w.because("CPU %v, not asked for, %s", others, either(others, has, have))
	}
}

// word returns the word of a parameter that every proposal has.
func (b *Boot) word(parameter string) *BootWord {
	i := slices.IndexFunc(b.Words, func(w BootWord) bool { return strings.HasPrefix(w.Word, parameter+"=") })
	return &b.Words[i]
}

// check makes sure that the proposal has its effect wherever its words are put,
// and takes nothing away from the CPUs that are asked for, under each behaviour that
// this kernel may have. Else it is not made.
func (k *kernelLine) check(b *Boot) {
	tick, isolated := b.word("nohz_full"), b.word("isolcpus")
	if tick.State != Changes && isolated.State != Changes {
		return
	}
	words := arguments(b.Line())
	kept := slices.DeleteFunc(slices.Clone(k.line), func(a argument) bool { return len(named(words, a.name)) > 0 })
	for _, r := range k.like {
		// That older kernels know no such flag is a reason of the word already.
		flag := isolated.State == Changes && r >= managedSince && strings.Contains(isolated.Word, "managed_irq")
		for _, line := range [][]argument{append(slices.Clone(words), kept...), append(slices.Clone(kept), words...)} {
			is := r.isolate(line, k.Possible, k.hasTick)
			if k.cpus.Intersect(k.taken[domainKind]).IsSubsetOf(is[domainKind]) && k.cpus.Intersect(k.taken[tickKind]).IsSubsetOf(is[tickKind]) &&
				(tick.State != Changes || k.cpus.Minus(bootCPU()).IsSubsetOf(is[tickKind])) &&
				(!flag || k.cpus.IsSubsetOf(is[managedKind])) {
				continue
			}
			for _, w := range []*BootWord{tick, isolated} {
				if w.State == Changes {
					w.is(Unknown, "beside what is on the command line, kernels such as %v would ignore one of nohz_full= and isolcpus=: change both by hand, to the same list", r)
				}
			}
			return
		}
	}
}

// warnings returns the warnings that are not about one of the words.
func (k *kernelLine) warnings() []string {
	var list []string
	if k.cpus.Contains(0) {
		list = append(list, "CPU 0 is the boot CPU: kernels that can suspend keep it out of nohz_full= for timekeeping, irqaffinity= always has it, and where no other CPU is known yet isolcpus= leaves it out: isolate another one if you can")
	}
	if warning := vectorWarning(k.host, len(k.irqNumbers())); warning != "" {
		list = append(list, warning)
	}
	return list
}

func (k *kernelLine) judgeInterrupts(w *BootWord) {
	keeping := k.housekeeping
	if rest := k.Online.Minus(k.cpus).Minus(k.stay).Minus(k.partitioned); k.spec.Housekeeping == "" && !rest.IsEmpty() {
		keeping = rest // with CPUs that are isolated now and will not be
	}
	w.Word = "irqaffinity=" + keeping.String()
	value, found := last(k.line, "irqaffinity")
	highest, _ := k.Possible.Last()
	cpus, err := cpulist.ParseMax(value, highest)
	if k.cpus == bootCPU() {
		w.is(Lacking, "the kernel keeps the boot CPU in it, whatever the list says (irq_affinity_setup)")
		return
	}
	if !found {
		return
	}
	if err != nil {
		w.because("the kernel takes no CPU from the list that is there")
		return
	}
	held := k.cpus.Minus(bootCPU()).Intersect(cpus)
	if !held.IsEmpty() {
		w.because("it has CPU %v (cause irq-affinity-boot)", held)
		return
	}
	w.State, w.Word = Set, "irqaffinity="+cpus.String()
	now, err := k.read(defaultAffinityFile)
	if err != nil {
		return
	}
	if mask, err := cpulist.ParseMask(now); err == nil && !mask.Intersect(k.cpus.Minus(bootCPU())).IsEmpty() {
		w.because("%s is CPU %v now: somebody has widened it since, or the kernel has not taken the word; \"taskiso partition plan\" shows what to write", defaultAffinityFile, mask)
	}
}

func (k *kernelLine) judgePatience(w *BootWord) {
	const want = "1000"
	w.Word = patienceParameter + "=" + want
	there, err := k.read(patienceFile)
	oldest, latest := k.releases()
	switch {
	case !k.hasTick:
		w.is(Lacking, "this kernel is built without CONFIG_NO_HZ_FULL")
	case err == nil && atLeast(there, want):
		w.State, w.Word = Set, patienceParameter+"="+there
	case err == nil:
	case !errors.Is(err, errLacking):
		w.is(Unknown, "%v", err)
	case k.exists("/sys/module/rcutree/parameters") || latest < 6011:
		w.is(Lacking, "this kernel does not know it (Linux 6.11 and later do)")
	case oldest < 6011:
		w.is(Unknown, "whether this kernel knows it (Linux 6.11 and later do) cannot be seen here: there is no /sys/module/rcutree")
	default:
		if value, found := last(k.line, patienceParameter); found && atLeast(value, want) {
			w.State = Set
		}
	}
}

// atLeast compares two numbers without signs.
func atLeast(text, want string) bool {
	return text != "" && strings.Trim(text, "0123456789") == "" && (len(text) > len(want) || len(text) == len(want) && text >= want)
}

// clockDir is about the clock that the kernel reads.
const clockDir = "/sys/devices/system/clocksource/clocksource0/"

// judgeClock is about the watchdog of the TSC. It watches the TSC also where another
// clock is in use, as long as the TSC is not given up (clocksource_enqueue_watchdog).
func (k *kernelLine) judgeClock(w *BootWord) {
	w.Word = "tsc=nowatchdog"
	if _, latest := k.releases(); latest < 5003 {
		w.Word = "tsc=reliable" // older, and stronger: not even checked at boot
	}
	if name, err := k.read(clockDir + "current_clocksource"); err == nil && name != "tsc" && len(named(k.line, "notsc")) > 0 {
		w.is(Needless, "notsc is there, so that the TSC is neither used nor watched") // notsc_setup: as tsc=unstable
		return
	}
	for _, a := range named(k.line, "tsc") { // each word counts (tsc_setup)
		switch a.value {
		case "unstable":
			w.is(Needless, "tsc=unstable is there, so that the TSC is neither used nor watched")
			return
		case "reliable", "nowatchdog":
			w.State, w.Word = Set, a.text
		}
	}
	name, err := k.read(clockDir + "current_clocksource")
	switch {
	case w.State == Set:
	case err != nil:
		w.is(Unknown, "%v", err)
	case name == "tsc":
	case !isClockOfPC(name):
		w.is(Needless, "the clocksource is %s, not tsc", name)
	default:
		w.is(Unknown, "the clocksource is %s, not tsc: by choice, or because the TSC was found unstable, and then no parameter helps; \"dmesg | grep -i tsc\" shows which", name)
	}
}

// isClockOfPC reports whether a clock is one that x86 falls back to without the TSC.
func isClockOfPC(name string) bool {
	return slices.Contains([]string{"hpet", "acpi_pm", "jiffies", "refined-jiffies", "pit"}, name)
}

func (k *kernelLine) judgePressure(w *BootWord) {
	w.Word = "psi=0"
	if !k.exists("/proc/pressure") {
		w.is(Needless, "there is no /proc/pressure, so no averages are computed")
		return
	}
	if isOff(k.line, "psi") {
		w.is(Unknown, "it is there, and /proc/pressure is there as well")
	}
}

func (k *kernelLine) judgeMachineCheck(w *BootWord) {
	w.Word = "mce=ignore_ce"
	dir, err := k.machineCheck()
	if off := machineChecksOff(k.line); err != nil && off != "" {
		w.Word = off // mce_available gives no CPU a directory then
		w.is(Set, "stronger than mce=ignore_ce: errors that were not corrected are not handled either")
		return
	}
	if err != nil {
		w.is(Lacking, "%v", err)
		return
	}
	switch ignores, err := k.read(dir + "/ignore_ce"); {
	case err == nil && ignores != "0":
		w.State = Set
	case err == nil:
	case slices.ContainsFunc(named(k.line, "mce"), func(a argument) bool { return a.value == "ignore_ce" }):
		w.State = Set
	}
}

// machineChecksOff returns the word that switches machine checks off as a whole (mcheck_enable, mcheck_disable), "" for none.
func machineChecksOff(line []argument) string {
	for _, a := range line {
		if a.name == "nomce" || a.name == "mce" && a.value == "off" {
			return a.text
		}
	}
	return ""
}
