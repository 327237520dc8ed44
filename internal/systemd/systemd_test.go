// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"bytes"
	"testing"

	"github.com/taskiso/taskiso/cpulist"
)

func TestBytesOf(t *testing.T) {
	for list, want := range map[string][]byte{"0": {1}, "2-3": {0x0c}, "7-8": {0x80, 1}, "1,64": {2, 0, 0, 0, 0, 0, 0, 0, 1}} {
		set, err := cpulist.Parse(list)
		if err != nil {
			t.Fatal(err)
		}
		if got := bytesOf(set); !bytes.Equal(got, want) {
			t.Errorf("%s: %x, want %x", list, got, want)
		}
	}
}

func TestSliceName(t *testing.T) {
	for name, want := range map[string]string{"taskiso_dpdk": "taskiso_dpdk.slice", "taskiso_a-b": `taskiso_a\x2db.slice`} {
		if got := SliceName(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
