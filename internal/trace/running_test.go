// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"errors"
	"testing"

	"github.com/cilium/ebpf"
)

// Whether anybody is in user mode depends on nohz_full; that the kernel takes the program does not.
func TestIteratorLoads(t *testing.T) {
	needBPF(t)
	u, err := OpenUserMode()
	if errors.Is(err, ebpf.ErrNotSupported) {
		t.Log(err)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	found, err := u.Threads()
	if err := errors.Join(err, u.Close()); err != nil {
		t.Fatal(err)
	}
	t.Logf("in user mode: %v, error %v", found, err)
}
