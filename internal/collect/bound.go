// SPDX-License-Identifier: Apache-2.0

package collect

import (
	"fmt"
	"maps"
	"math/bits"
	"slices"

	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/total"
)

// threadSet counts threads by their numbers, which are below PID_MAX_LIMIT, 2^22
// (include/linux/threads.h): however many there were, it takes half a megabyte at most.
type threadSet []uint64

func (t *threadSet) add(tid uint32) {
	word := int(tid / 64)
	if word >= len(*t) {
		*t = append(*t, make([]uint64, word+1-len(*t))...)
	}
	(*t)[word] |= 1 << (tid % 64)
}

func (t *threadSet) len() int {
	n := 0
	for _, word := range *t {
		n += bits.OnesCount64(word)
	}
	return n
}

// bounds names what was summed up because there was too much of it to keep apart.
func (c *Collector) bounds() []string {
	var limits []string
	for _, n := range slices.Sorted(maps.Keys(c.cpus)) {
		if c.cpus[n].causes.Full() {
			limits = append(limits, fmt.Sprintf("CPU %d: only %d causes are kept apart; later ones are summed up under \"%s\" of their kind", n, total.MaxApart, total.Others))
		}
	}
	if c.origins >= maxAllOrigins {
		limits = append(limits, fmt.Sprintf("only %d origins are kept apart in all; later ones are summed up as \"others\"", maxAllOrigins))
	}
	if len(c.isolation) > maxIsolations {
		limits = append(limits, fmt.Sprintf("the isolation of only %d threads is kept apart; that of later ones is summed up as thread %d", maxIsolations, report.OtherThreads))
	}
	return limits
}
