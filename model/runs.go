// SPDX-License-Identifier: Apache-2.0

// Package model runs the Promela model in model/spin: the protocols of
// docs/design/05-deferred-synchronisation.md, which must hold, and versions
// with a constraint dropped or as once published, which must fail. It prints a
// table and renders the counterexamples for docs/model-traces.
package model

// Verdict is what Spin finds first, or nothing.
type Verdict string

// Verdicts.
const (
	Holds    Verdict = "holds"
	Stale    Verdict = "stale text executed"
	Late     Verdict = "interrupted in user mode"
	Freed    Verdict = "use after free"
	Torn     Verdict = "torn instruction executed"
	Unknown  Verdict = "INT3 that nobody knows"
	Deadlock Verdict = "deadlock"
	Liveness Verdict = "somebody never finishes"
)

// Run is one run of Spin.
type Run struct {
	Name string
	// Why says what the run shows: for a failing one, the shortest explanation
	// of its counterexample.
	Why        string
	Constraint string // that is dropped, by its number in docs/design/05
	Flags      []string
	Want       Verdict
}

const (
	from2020  = "-DPROTOCOL=ISOLATION2020"
	from2021  = "-DPROTOCOL=SEQ2021"
	from2025  = "-DPROTOCOL=CONTEXT2025"
	fromCR3   = "-DPROTOCOL=CR3FLAG2025"
	protoA    = "-DGENERATION=0"
	protoB    = "-DHANDSHAKE=1"
	noNMI     = "-DNMIS=0"
	oneRound  = "-DROUNDS=1"
	live      = "-DLIVE=1"
	noLate    = "-DNOLATE=1"
	rcu       = "-DRCU=1"
	twoNMIs   = "-DNMIS=2"
	nestedMCE = "-DMCS=1"
	oneStep   = "-DSTEPS=1"
	twoSteps  = "-DSTEPS=2"
	arm       = "-DARM=1"
	entryCSE  = "-DENTRY_SYNC=1"
	twoCPUs   = "-DNCPU=2"
	twoPost   = "-DNPOSTER=2"
)

// Published are versions that were posted or discussed, as we read them.
var Published = []Run{
	{Name: "2020-nmi-window", Constraint: "C7", Want: Stale, Flags: []string{from2020, oneRound},
		Why: "The entry clears the flag, then executes a barrier, then synchronises. An NMI in between finds the flag clear, takes the CPU for synchronised, and executes old text. Interrupts are off, which stops no NMI."},
	{Name: "2020-late-exit", Constraint: "C2", Want: Stale, Flags: []string{from2020, noNMI, "-DLATE_MUTABLE=1"},
		Why: "The flag that says \"isolated\" is set while exit code is still to run. A patch in between is deferred, and the rest of the exit code is old."},
	{Name: "2025-context-nmi-window", Constraint: "C7", Want: Stale, Flags: []string{from2025, oneRound},
		Why: "The entry makes RCU watch and only then flushes the deferred work. An NMI in between sees RCU watching, does not flush, and executes old text."},
	{Name: "2025-cr3flag-window", Constraint: "C4", Want: Stale, Flags: []string{fromCR3, noNMI, oneRound},
		Why: "The entry serialises by loading CR3, then sets the flag. A patch in between sees flag 0 and skips a CPU that has already synchronised."},
	{Name: "2025-cr3flag-nmi", Constraint: "C7", Want: Stale, Flags: []string{fromCR3, oneRound, "-DONLY_NMI=1"},
		Why: "An NMI between the CR3 load and the flag finds the kernel CR3, so it neither synchronises nor sets the flag."},
	{Name: "2025-cr3flag-first", Constraint: "C9", Want: Stale, Flags: []string{fromCR3, oneRound, "-DFLAG_FIRST=1"},
		Why: "With the flag set before the CR3 load, an NMI in between finds the user CR3 and stores flag 0 when it returns. The entry goes on into the kernel with flag 0, and every later interrupt is left out."},
	{Name: "2021-seq-late", Constraint: "C12", Want: Late, Flags: []string{from2021, noNMI, noLate},
		Why: "Safe, but a poster that saw the kernel sends an interrupt that arrives after the CPU has left."},
}

// Dropped take one constraint out of the protocols.
var Dropped = []Run{
	{Name: "c1-mutable-entry", Constraint: "C1", Want: Stale, Flags: []string{noNMI, oneRound, "-DEARLY_MUTABLE=1"},
		Why: "An instruction that can be patched runs before the CPU has caught up."},
	{Name: "c2-mutable-exit", Constraint: "C2", Want: Stale, Flags: []string{noNMI, "-DLATE_MUTABLE=1"},
		Why: "An instruction that can be patched runs after the CPU has published user."},
	{Name: "c3-not-serialising", Constraint: "C3", Want: Stale, Flags: []string{noNMI, oneRound, "-DNOT_SERIALISING=1"},
		Why: "The instruction that should synchronise does not: SYSRET, LFENCE, a locked instruction, or \"we took an exception\"."},
	{Name: "c4-publish-after", Constraint: "C4", Want: Stale, Flags: []string{noNMI, oneRound, protoA, "-DDROP=PUBLISH_AFTER"},
		Why: "The CPU synchronises, a patch is deferred because user is still published, then kernel is published."},
	{Name: "c4-store-buffer", Constraint: "C4", Want: Stale, Flags: []string{noNMI, oneRound, "-DDROP=PLAIN_PUBLISH"},
		Why: "Kernel is published by a plain store that is still in the store buffer when the CPU reads the generation."},
	{Name: "c5-no-barrier", Constraint: "C5", Want: Stale, Flags: []string{noNMI, oneRound, "-DBARRIER=0"},
		Why: "The poster's text is still in its store buffer when it looks at the state."},
	{Name: "c5-no-wait", Constraint: "C5", Want: Stale, Flags: []string{noNMI, oneRound, "-DWAIT=0"},
		Why: "The poster goes on before the interrupted CPU has synchronised."},
	{Name: "c6-gen-before-text", Constraint: "C6", Want: Stale, Flags: []string{noNMI, "-DDROP=12"},
		Why: "The generation moves before the text: an entry in between records a generation whose text it has not seen."},
	{Name: "c6-gen-after-look", Constraint: "C6", Want: Stale, Flags: []string{noNMI, "-DDROP=13"},
		Why: "The generation moves after the poster has looked: an entry in between finds it unchanged."},
	{Name: "c7-nmi-trusts-entry", Constraint: "C7", Want: Stale, Flags: []string{oneRound, "-DDROP=NMI_NO_CATCH_UP"},
		Why: "An NMI between publishing and synchronising takes \"kernel\" for \"synchronised\"."},
	{Name: "c7-nmi-no-publish", Constraint: "C7", Want: Stale, Flags: []string{oneRound, "-DDROP=NMI_NO_PUBLISH"},
		Why: "An NMI from user mode catches up without publishing; a patch during the NMI is deferred."},
	{Name: "c8-record-first", Constraint: "C8", Want: Stale, Flags: []string{oneRound, "-DDROP=RECORD_FIRST"},
		Why: "The entry records the generation and then synchronises; an NMI in between believes the record."},
	{Name: "c8-record-first-a", Constraint: "C8", Want: Stale, Flags: []string{oneRound, protoA, "-DDROP=RECORD_FIRST"},
		Why: "The same with protocol A's mark."},
	{Name: "c8-nmi-record-first", Constraint: "C8", Want: Stale, Flags: []string{oneRound, nestedMCE, "-DDROP=NMI_RECORD_FIRST"},
		Why: "The same in an NMI that a machine check hits."},
	{Name: "c9-nmi-sets-user", Constraint: "C9", Want: Stale, Flags: []string{oneRound, "-DDROP=NMI_SETS_USER"},
		Why: "An NMI that hit the kernel publishes user when it returns; the interrupted kernel code goes on as \"user\"."},
	{Name: "c10-synced-outlives", Constraint: "C10", Want: Stale, Flags: []string{protoA, "-DDROP=SYNCED_OUTLIVES"},
		Why: "The mark is dropped after user is published; an NMI in between believes it."},
	{Name: "c11-no-int3", Constraint: "C11", Want: Torn, Flags: []string{noNMI, oneRound, "-DINT3=3", twoSteps},
		Why: "The tail is written under the old first byte: a CPU in the kernel executes half of each."},
	{Name: "c11-int3-not-synchronised", Constraint: "C11", Want: Torn, Flags: []string{noNMI, oneRound, "-DINT3=2"},
		Why: "The tail is written before every CPU has seen INT3."},
	{Name: "c11-handler-forgets", Constraint: "C11", Want: Unknown, Flags: []string{noNMI, oneRound, "-DINT3=4"},
		Why: "The handler forgets the patch before the last phase is synchronised."},
	{Name: "c12-no-handshake", Constraint: "C12", Want: Late, Flags: []string{noNMI, noLate},
		Why: "A' alone is safe, but a poster that saw the kernel sends an interrupt that arrives in user mode."},
	{Name: "c12-no-handshake-a", Constraint: "C12", Want: Late, Flags: []string{noNMI, noLate, protoA},
		Why: "So is A alone."},
	{Name: "c12-nmi-looks-kernel", Constraint: "C12", Want: Late, Flags: []string{protoB, noLate, "-DDROP=NMI_LOOKS_KERNEL"},
		Why: "An NMI from user mode published as kernel invites an interrupt, which arrives in user mode after the NMI."},
	{Name: "c12-exit-ignores-request", Constraint: "C12", Want: Late, Flags: []string{noNMI, protoB, noLate, "-DDROP=EXIT_IGNORES_REQ"},
		Why: "The exit does not look for a request in the word that it overwrites."},
	{Name: "c12-nmi-taken-for-user", Constraint: "C12", Want: Stale, Flags: []string{protoB, oneRound, "-DDROP=SKIP_NMI_USER"},
		Why: "The poster defers for a CPU that is in an NMI from user mode and executes old text."},
	{Name: "c13-rcu-store-buffer", Constraint: "C13", Want: Freed, Flags: []string{noNMI, oneRound, rcu, "-DSTEPS=0", "-DDROP=PLAIN_PUBLISH"},
		Why: "The same plain store seen by RCU: the grace period sees user while a reader already holds the pointer."},
	{Name: "c19-hotplug-no-sync", Constraint: "C19", Want: Stale, Flags: []string{noNMI, oneRound, "-DHOTPLUG=2"},
		Why: "A CPU that comes online takes the current generation without synchronising."},
	{Name: "c19-hotplug-late-read", Constraint: "C19", Want: Stale, Flags: []string{noNMI, oneRound, "-DHOTPLUG=3"},
		Why: "It synchronises, but records a generation that it reads afterwards and that may be newer."},
	{Name: "c20-nmi-lock", Constraint: "C20", Want: Deadlock, Flags: []string{protoB, oneRound, oneStep, "-DNMI_LOCK=1"},
		Why: "The poster holds a lock while it waits for an NMI from user mode to end; the NMI waits for the lock."},
	{Name: "a3-icache-late", Constraint: "A3", Want: Stale, Flags: []string{noNMI, arm, entryCSE, oneStep, "-DIC_LATE=1"},
		Why: "The poster looks at the state before its I-cache maintenance is complete."},
	{Name: "a4-exception-entry-only", Constraint: "A4", Want: Stale, Flags: []string{noNMI, oneRound, arm, entryCSE, oneStep, protoA, "-DDROP=PUBLISH_AFTER"},
		Why: "Synchronising before publishing: taking the exception synchronises the context, but a patch that comes before the CPU publishes kernel is deferred."},
}

// Proved are the protocols, and what they are built from.
var Proved = []Run{
	{Name: "2020-without-nmi", Want: Holds, Flags: []string{from2020, noNMI}, Why: "The model of 2020 fails for the reason shown, not for another."},
	{Name: "2025-context-without-nmi", Want: Holds, Flags: []string{from2025, noNMI}, Why: "So does that of 2025."},
	{Name: "2025-cr3flag-first-without-nmi", Want: Holds, Flags: []string{fromCR3, noNMI, "-DFLAG_FIRST=1"}, Why: "And that with the flag first."},
	{Name: "2021-seq", Want: Holds, Flags: []string{from2021, twoNMIs}, Why: "The version of 2021 is safe, though late."},
	{Name: "A", Want: Holds, Flags: []string{protoA, twoNMIs, nestedMCE, rcu}, Why: "Catching up at every entry."},
	{Name: "A-prime", Want: Holds, Flags: []string{twoNMIs, nestedMCE, rcu, twoSteps}, Why: "Catching up if the generation moved."},
	{Name: "A-prime-three-steps", Want: Holds, Flags: []string{twoNMIs, rcu}, Why: "A' with more patching and no machine check."},
	{Name: "A+B", Want: Holds, Flags: []string{protoA, protoB, noLate, twoNMIs, nestedMCE, rcu}, Why: "With the handshake: not late either."},
	{Name: "A-prime+B", Want: Holds, Flags: []string{protoB, noLate, twoNMIs, nestedMCE, rcu, twoSteps}, Why: "Generation and handshake combined."},
	{Name: "A-prime+B-three-rounds", Want: Holds, Flags: []string{protoB, noLate, "-DROUNDS=3"}, Why: "The same with more entries."},
	{Name: "A-prime-arm64", Want: Holds, Flags: []string{arm, entryCSE, twoNMIs, nestedMCE, rcu, oneStep}, Why: "arm64: I-cache, exception entry synchronises, one phase."},
	{Name: "A-prime+B-arm64", Want: Holds, Flags: []string{protoB, noLate, arm, entryCSE, twoNMIs, nestedMCE, rcu, oneStep}, Why: "The same with the handshake."},
	{Name: "A-prime-int3", Want: Holds, Flags: []string{"-DINT3=1", twoNMIs, "-DSTEPS=6"}, Why: "Two whole INT3 patches: no torn instruction, no unknown INT3."},
	{Name: "A-prime+B-int3", Want: Holds, Flags: []string{protoB, noLate, "-DINT3=1", twoNMIs, "-DSTEPS=6"}, Why: "The same with the handshake."},
	{Name: "A-prime-hotplug", Want: Holds, Flags: []string{"-DHOTPLUG=1"}, Why: "The CPU is offline at first, and counts as deferred."},
	{Name: "A-prime-two-posters", Want: Holds, Flags: []string{twoPost, twoSteps}, Why: "Two posters that patch independently."},
	{Name: "A-prime+B-two-posters", Want: Holds, Flags: []string{protoB, noLate, twoPost, twoSteps}, Why: "Two posters compete for the request."},
	{Name: "A-prime-two-cpus", Want: Holds, Flags: []string{twoCPUs, noNMI, twoSteps, oneRound}, Why: "Two isolated CPUs."},
	{Name: "A-prime+B-two-cpus", Want: Holds, Flags: []string{protoB, noLate, twoCPUs, oneRound, oneStep}, Why: "Two isolated CPUs with an NMI each."},
	{Name: "A-prime+B-two-cpus-two-posters", Want: Holds, Flags: []string{protoB, noLate, twoCPUs, twoPost, noNMI, oneRound, oneStep}, Why: "Two of both."},
	{Name: "2021-seq-live", Want: Holds, Flags: []string{from2021, live}, Why: "Everybody finishes, under weak fairness."},
	{Name: "A-live", Want: Holds, Flags: []string{protoA, live}, Why: "Everybody finishes."},
	{Name: "A-prime-live", Want: Holds, Flags: []string{live}, Why: "Everybody finishes."},
	{Name: "A+B-live", Want: Holds, Flags: []string{protoA, protoB, live}, Why: "Everybody finishes; posters do not spin for ever."},
	{Name: "A-prime+B-live", Want: Holds, Flags: []string{protoB, live}, Why: "Everybody finishes."},
	{Name: "A-prime+B-two-posters-live", Want: Holds, Flags: []string{protoB, live, twoPost, oneStep, oneRound}, Why: "Two posters wait for each other's request, but not for ever."},
}

// All returns every run, in the order of the table.
func All() []Run {
	var all []Run
	for _, group := range [][]Run{Published, Dropped, Proved} {
		all = append(all, group...)
	}
	return all
}
