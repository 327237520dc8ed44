// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"

	"github.com/taskiso/taskiso/cpulist"
)

// maxInstructions is how many the verifier may go through for a program: the sum is most of what opening takes. The kernel allows a
// million, which takes a minute in an emulated guest; what is inlined on several paths, and what the loop at the hook carries from
// look to look can make it as many.
const maxInstructions = 5_000

// The verifier of this kernel accepts the programs, and soon. They are loaded as raw
// tracepoints, of which each kernel takes programs, and attached to nothing.
func TestVerifierAcceptsThePrograms(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("loading BPF programs needs root")
	}
	if err := rlimit.RemoveMemlock(); err != nil {
		t.Fatal(err)
	}
	spec, err := loadBpf()
	if err != nil {
		t.Fatal(err)
	}
	cpus, err := cpulist.Parse("2-3")
	if err != nil {
		t.Fatal(err)
	}
	g := &guard{ops: Operations()}
	if err := g.set(spec, Config{CPUs: cpus, Policy: Hold}); err != nil {
		t.Fatal(err)
	}
	for _, p := range spec.Programs {
		if p.Type != ebpf.Syscall {
			p.Type, p.AttachType, p.AttachTo = ebpf.RawTracepoint, 0, ""
		}
	}
	options := ebpf.CollectionOptions{Programs: ebpf.ProgramOptions{LogLevel: ebpf.LogLevelStats}}
	coll, err := ebpf.NewCollectionWithOptions(spec, options)
	if err != nil {
		t.Fatalf("loading the programs: %+v", err)
	}
	defer coll.Close()
	processed := regexp.MustCompile(`processed (\d+) insns`)
	for name, p := range coll.Programs {
		found := processed.FindStringSubmatch(p.VerifierLog)
		if found == nil {
			t.Errorf("%s: the verifier reports %q", name, p.VerifierLog)
			continue
		}
		if n, err := strconv.Atoi(found[1]); err != nil || n > maxInstructions {
			t.Errorf("%s: the verifier goes through %d instructions (%v), want at most %d", name, n, err, maxInstructions)
		}
	}
}
