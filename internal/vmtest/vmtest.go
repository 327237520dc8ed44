// SPDX-License-Identifier: Apache-2.0

package vmtest

import (
	"flag"
	"os"
	"strings"
	"testing"
)

// Prefix begins the names of tests that run in guests only.
const Prefix = "TestGuest"

// Isolated gives CPUs 2 and 3 of a guest to isolated tasks, as far as parameters of the kernel do that.
//
// "isolcpus=nohz,…" would say the same as nohz_full= once more, and Linux 7.2 then drops isolcpus= as a whole: it
// compares the two lists through housekeeping_cpumask(), which early in boot still answers with all CPUs, and logs
// "nohz_full= must match isolcpus=".
const Isolated = "nohz_full=2,3 rcu_nocbs=2,3 isolcpus=domain,managed_irq,2-3"

// Main is called by a package's TestMain and runs its tests. On the host it leaves out the tests whose names begin with
// [Prefix]. In a guest it never returns: it is the guest's init.
//
//	func TestMain(m *testing.M) { vmtest.Main(m) }
func Main(m *testing.M) {
	switch {
	case isInit():
		guestInit()
	case !InGuest():
		leaveOutGuestTests()
	}
	m.Run() // its result becomes the exit code when TestMain returns
}

func leaveOutGuestTests() {
	flag.Parse()
	skip := flag.Lookup("test.skip")
	patterns := []string{"^" + Prefix}
	if own := skip.Value.String(); own != "" {
		patterns = append(patterns, own)
	}
	if err := skip.Value.Set(strings.Join(patterns, "|")); err != nil {
		panic("setting -test.skip: " + err.Error()) // a flag of type string accepts everything
	}
	if run := flag.Lookup("test.run").Value.String(); strings.HasPrefix(strings.TrimPrefix(run, "^"), Prefix) {
		os.Stderr.WriteString("vmtest: tests named " + Prefix + "... run in guests only; name the host's test first: -run 'TestX/kernel/" + run + "'\n")
	}
}

// skip ends a test that cannot be run. Where nobody would notice that, in CI, it fails the test.
func skip(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" || os.Getenv("TASKISO_NO_SKIP") == "1" {
		t.Fatalf("skipping is not allowed here (CI, TASKISO_NO_SKIP): "+format, args...)
	}
	t.Skipf(format, args...)
}
