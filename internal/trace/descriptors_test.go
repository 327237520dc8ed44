// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// withoutLink are the programs that run by system call, for which a link is allowed for as well.
const withoutLink = 2

// What is said to be needed is what is opened, and where that is not allowed the limit is named.
func TestDescriptors(t *testing.T) {
	needBPF(t)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	cfg := Config{CPUs: mustParse(t, "1"), PossibleCPUs: possibleCPUs(t), Isolation: true}
	before := openFiles(t)
	tracer, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	needed := openFiles(t) - before + spareDescriptors
	tracer.Close()
	for max, want := range map[int]error{before + needed - 1: unix.EMFILE, before + needed + withoutLink: nil, before + 5: unix.EMFILE} {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(max), Max: limit.Max}); err != nil {
			t.Fatal(err)
		}
		tracer, err := Open(cfg)
		if err == nil {
			tracer.Close()
		}
		if !errors.Is(err, want) || err != nil && !strings.Contains(err.Error(), "raise it with ulimit -n") {
			t.Errorf("with %d descriptors at most, %d open and %d needed: %v", max, before, needed, err)
		}
		if err := CheckDescriptors(1); !errors.Is(err, want) {
			t.Errorf("with %d descriptors at most, %d open and %d needed, they are said to suffice: %v", max, before, needed, err)
		}
	}
}

// What is said to be attachable before is what is attached.
func TestAttachableIsAttached(t *testing.T) {
	needBPF(t)
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	tracer, err := Open(Config{PossibleCPUs: possibleCPUs(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer tracer.Close()
	attached := tracer.Sources()
	for i, s := range Attachable(kernel) {
		if got := attached[i]; got.Name != s.Name || (got.Err == nil) != (s.Err == nil) {
			t.Errorf("%s: said to be attachable: %v; attached: %v", s.Name, s.Err, got.Err)
		}
		if s.Err != nil && (strings.Contains(s.Err.Error(), ": ") || !errors.Is(s.Err, ebpf.ErrNotSupported)) {
			t.Errorf("%s: no plain reason: %v", s.Name, s.Err)
		}
	}
	if err := CheckRawTracepoints(); err != nil {
		t.Error(err)
	}
}
