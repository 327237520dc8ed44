// SPDX-License-Identifier: Apache-2.0

package run

import (
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
)

// A break without a name comes with what it can have been.
func TestCandidatesOfUnnamedBreaks(t *testing.T) {
	kernel := fstest.MapFS{
		"sys/devices/system/cpu/possible": {Data: []byte("0-3\n")},
		"sys/devices/system/cpu/online":   {Data: []byte("0-3\n")},
		"proc/interrupts":                 {Data: []byte("           CPU0       CPU1\n")},
		"proc/kallsyms":                   {Data: []byte("0 T asm_exc_double_fault\n0 T __sdei_asm_handler\n")},
	}
	got := candidates(kernel, 2)
	want := map[string]string{"amd64": "double fault", "arm64": "SDEI"}[runtime.GOARCH]
	if !strings.HasPrefix(got, "2 breaks have no name") || !strings.Contains(got, want) || strings.Contains(got, "are:  ") {
		t.Errorf("want %q in %q", want, got)
	}
	delete(kernel, "proc/kallsyms")
	if got := candidates(kernel, 1); !strings.Contains(got, "not known") || !strings.Contains(got, "kallsyms") {
		t.Errorf("got %q for a machine without symbols", got)
	}
}
