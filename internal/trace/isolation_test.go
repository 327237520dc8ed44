// SPDX-License-Identifier: Apache-2.0

package trace

import "testing"

// The programs of the task side load and attach, and know of no thread.
func TestOpensIsolation(t *testing.T) {
	needBPF(t)
	tracer, err := Open(Config{CPUs: mustParse(t, "0"), PossibleCPUs: possibleCPUs(t), Isolation: true})
	if err != nil {
		t.Fatal(err)
	}
	defer tracer.Close()
	i := tracer.Isolation()
	if i.NoFaults != nil {
		t.Error(i.NoFaults)
	}
	if err := i.Assign(1<<21, 7); err != nil {
		t.Error(err)
	}
	if slot, ok := i.Occupant(0); ok {
		t.Errorf("slot %d is isolated on CPU 0", slot)
	}
}
