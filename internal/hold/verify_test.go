// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/feature"
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

// What the verifier has against a program is not taken for a kernel that refuses such programs: both can be EACCES.
func TestRejectedIsNotRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("loading BPF programs needs root")
	}
	if err := rlimit.RemoveMemlock(); err != nil {
		t.Fatal(err)
	}
	rejected := func(offset int16, options ebpf.ProgramOptions) error {
		p, err := ebpf.NewProgramWithOptions(&ebpf.ProgramSpec{
			Type: ebpf.RawTracepoint, License: "GPL",
			Instructions: asm.Instructions{asm.LoadMem(asm.R0, asm.R1, offset, asm.DWord), asm.Return()},
		}, options)
		if err == nil {
			p.Close()
		}
		return err
	}
	const beyond = 1 << 14 // of the arguments of a tracepoint
	withLog := rejected(beyond, ebpf.ProgramOptions{})
	withoutLog := rejected(beyond, ebpf.ProgramOptions{LogDisabled: true}) // as a refusal is
	for _, err := range []error{withLog, withoutLog} {
		if !errors.Is(err, unix.EACCES) {
			t.Fatalf("got %v, want EACCES", err)
		}
	}
	refused := feature.Reason(feature.RefusesTrampolines())
	for _, tc := range []struct {
		name string
		err  error
		want string
	}{
		{"verifier", withLog, fmt.Sprintf(`verifier rejects a BPF program of taskiso: "invalid bpf_context access off=%d size=8"; report it`, beyond)},
		{"a program of a collection", fmt.Errorf("program probe: %w", withLog), "verifier rejects"},
		{"refusal", withoutLog, refused},
		{"refusal by EPERM", fmt.Errorf("load program: %w (MEMLOCK may be too low)", unix.EPERM), refused},
		{"something else", unix.ENOMEM, "loading BPF programs for trampolines: cannot allocate memory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := notLoaded(tc.err)
			if !errors.Is(err, ErrNotSupported) || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %q, want one line with %q", err, tc.want)
			}
		})
	}
}
