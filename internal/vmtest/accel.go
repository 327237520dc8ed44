// SPDX-License-Identifier: Apache-2.0

package vmtest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	accelKVM = "kvm"
	// One thread for all guest CPUs: with one thread each, QEMU (seen with 10.0.13)
	// goes on to execute the breakpoints of patched kernel text after they are gone,
	// and Linux 7.2 dies of an unexpected int3 in one of five boots with tracing.
	accelTCG = "tcg,thread=single"
)

// probeParameter on the kernel's command line makes a guest report at once, without tests.
const probeParameter = "vmtest.probe"

// probeTime is how long a boot under KVM may take before KVM is taken to be unusable.
const probeTime = 20 * time.Second

// chooseAccel returns KVM if it boots this machine, else TCG. That /dev/kvm can be opened says little: inside a virtual
// machine it may refuse registers, or stop at the first instruction it cannot emulate. So it is tried, once per kernel
// and boot of the host; the answer is kept in directory cache. It runs no guest of another architecture than the host's.
func chooseAccel(t *testing.T, cache, arch string, m machine) string {
	t.Helper()
	if arch != runtime.GOARCH || unix.Access("/dev/kvm", unix.R_OK|unix.W_OK) != nil {
		return accelTCG
	}
	defer waitForLock(t, filepath.Join(cache, "kvm.lock"))()
	path := filepath.Join(cache, "kvm.json")
	key := hostBoot() + " " + m.qemu[0] + " " + m.kernel
	answers := readAnswers(path, hostBoot())
	works, known := answers[key]
	if !known {
		works = bootsUnderKVM(t.Context(), m)
		answers[key] = works
		_ = writeAnswers(path, answers) // the next run tries again
	}
	if works {
		return accelKVM
	}
	return accelTCG
}

func bootsUnderKVM(ctx context.Context, m machine) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	m.accel, m.patience = accelKVM, probeTime
	m.console += ".kvm"
	m.cmdline = append(append([]string(nil), m.cmdline...), probeParameter)
	result, err := m.boot(ctx)
	return err == nil && result.end.Error == ""
}

// hostBoot identifies this boot of the host.
func hostBoot() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return fmt.Sprint("pid ", os.Getpid())
	}
	return strings.TrimSpace(string(id))
}

// readAnswers returns the answers of this boot. An unreadable file is as good as none.
func readAnswers(path, boot string) map[string]bool {
	answers := map[string]bool{}
	data, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(data, &answers) != nil {
		return map[string]bool{}
	}
	for key := range answers {
		if !strings.HasPrefix(key, boot) {
			delete(answers, key)
		}
	}
	return answers
}

func writeAnswers(path string, answers map[string]bool) error {
	data, err := json.MarshalIndent(answers, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", data, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
