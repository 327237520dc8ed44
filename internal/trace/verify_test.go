// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/rlimit"

	"github.com/taskiso/taskiso/cpulist"
)

// maxInstructions is how many the verifier may go through for a program. What is inlined on several paths multiplies them, and their
// sum over all programs is half of what opening takes, on an emulated CPU seconds.
const maxInstructions = 10_000

// The verifier of this kernel accepts the programs, and soon, also those of the task side, which are the longer ones.
func TestVerifierAcceptsThePrograms(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("loading BPF programs needs root")
	}
	if err := rlimit.RemoveMemlock(); err != nil {
		t.Fatal(err)
	}
	cpus, err := cpulist.Parse("0")
	if err != nil {
		t.Fatal(err)
	}
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	tracer := &Tracer{cpus: cpus, sources: Attachable(kernel)}
	spec, err := tracer.spec(Config{CPUs: cpus, PossibleCPUs: 4, Isolation: true})
	if err != nil {
		t.Fatal(err)
	}
	options := ebpf.CollectionOptions{Programs: ebpf.ProgramOptions{LogLevel: ebpf.LogLevelStats}}
	coll, err := ebpf.NewCollectionWithOptions(spec, options)
	if err != nil {
		t.Fatalf("loading the programs: %+v", err)
	}
	defer coll.Close()
	processed := regexp.MustCompile(`processed (\d+) insns`)
	sum := 0
	for name, p := range coll.Programs {
		found := processed.FindStringSubmatch(p.VerifierLog)
		if found == nil {
			t.Errorf("%s: the verifier reports %q", name, p.VerifierLog)
			continue
		}
		n, err := strconv.Atoi(found[1])
		if err != nil || n > maxInstructions {
			t.Errorf("%s: the verifier goes through %d instructions (%v), want at most %d", name, n, err, maxInstructions)
		}
		sum += n
	}
	t.Logf("%d programs, %d instructions", len(coll.Programs), sum)
}
