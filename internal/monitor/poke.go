// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"slices"

	"github.com/taskiso/taskiso/internal/event"
)

// Events derived from the sender that has do_sync_core called on the CPU, on x86. One
// function patches kernel text: after the breakpoint, after the tail, and after
// the first byte it makes all CPUs synchronise. Which of the three it is shows in
// its return address on the sender's stack.
const (
	pokeBegin = "text_poke_begin" // after the breakpoint
	pokeStep  = "text_poke_step"  // after the tail or the first byte
)

// patchers are the names of that function, in arch/x86/kernel/alternative.c:
// the second one since Linux 6.16.
var patchers = []string{"text_poke_bp_batch", "smp_text_poke_batch_finish"}

// pokes distinguishes the steps of patches that are sent to one CPU.
//
// Only one task patches text at a time (text_mutex), and the code asks for the
// synchronisations in the order of its addresses. A return address that is not
// higher than the one before is therefore the address of a beginning, and from
// then on beginnings are known. Until then there is no event. A compiler that put the
// code in another order would make poke3 fail on every patch; a test in virtual
// machines shows that those of Debian's kernels did not.
type pokes struct {
	last  uint64 // return address, 0 after a loss
	begin uint64 // that of beginnings, 0 until it is known
}

// event returns what e shows, or "".
func (p *pokes) event(e event.Event, functions Functions) string {
	i := slices.IndexFunc(e.Sender.Stack, func(addr uint64) bool { return slices.Contains(patchers, functions.Function(addr)) })
	if i < 0 || functions.Function(e.B) != "do_sync_core" {
		return ""
	}
	addr := e.Sender.Stack[i]
	if p.last != 0 && addr <= p.last {
		p.begin = addr
	}
	p.last = addr
	switch p.begin {
	case 0:
		return ""
	case addr:
		return pokeBegin
	}
	return pokeStep
}

func (p *pokes) lost() { p.last = 0 }
