// SPDX-License-Identifier: Apache-2.0

package emulator

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

func TestByCPUID(t *testing.T) {
	const tcg, kvm = "TCGTCGTCGTCG", "KVMKVMKVM\x00\x00\x00"
	word := func(s string, i int) uint32 {
		s = s[4*i:]
		return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
	}
	for name, tc := range map[string]struct {
		features  uint32
		signature string
		want      bool
	}{
		"emulated":                 {1 << 31, tcg, true},
		"kvm":                      {1 << 31, kvm, false},
		"hardware":                 {0, "\x07\x00\x00\x00ab\x00\x00\x00\x00\x00\x00", false},
		"emulated, does not admit": {0, tcg, false},
	} {
		got := byCPUID(func(leaf uint32) (a, b, c, d uint32) {
			switch leaf {
			case 1:
				return 0, 0, tc.features, 0
			case 0x40000000:
				return 0x40000001, word(tc.signature, 0), word(tc.signature, 1), word(tc.signature, 2)
			}
			t.Errorf("%s: leaf %#x was asked for", name, leaf)
			return
		})
		if got != tc.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}

func TestByMIDR(t *testing.T) {
	const file = "sys/devices/system/cpu/cpu1/regs/identification/midr_el1" // cpu0 is offline and has none
	for text, want := range map[string]bool{
		"0x00000000000f0510\n": true,
		"0x00000000413fd0c1\n": false, // Neoverse N1
		"":                     false,
	} {
		if got := byMIDR(fstest.MapFS{file: {Data: []byte(text)}}); got != want {
			t.Errorf("%q: got %t", text, got)
		}
	}
	if byMIDR(fstest.MapFS{}) {
		t.Error("found without a CPU to ask")
	}
}

// QEMU's own models have its name; those made after real CPUs have not.
func TestFoundHere(t *testing.T) {
	cpus, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	ofQEMU := strings.Contains(string(cpus), "QEMU TCG") || strings.Contains(string(cpus), "CPU implementer\t: 0x00\n")
	if got := Found(os.DirFS("/")); !got && ofQEMU {
		t.Error("not found in QEMU")
	} else if got && !strings.Contains(string(cpus), "hypervisor") && strings.Contains(string(cpus), "flags") {
		t.Error("found on hardware")
	}
	Yield()
}
