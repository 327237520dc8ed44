// SPDX-License-Identifier: Apache-2.0

package vmtest

import (
	"errors"
	"os"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/taskiso/taskiso/internal/vmtest/debian"
)

// exception is a test that does not run on a row, because there it cannot pass yet.
type exception struct {
	rows    []string // names, as in [debian.Rows]
	pkg     string   // directory of the test's package in this module
	test    string   // a guest's test, which may be a subtest of a guest's test, or the host's that boots the guest
	because string
}

// exceptions are all of them. A test that does not pass on a row and is not here fails. Its entry is removed by who makes it
// pass; TASKISO_EXCEPTIONS=run runs all tests, to find out.
func exceptions() []exception {
	arm := []string{debian.ARM64, debian.ARM64Sid}
	return []exception{
		{arm, "internal/vmtest", "TestGuestRunsProgramsOfTheHost", "the host's programs are for another architecture"},
		{arm, "internal/entries", "TestGuestSendersAreKnown", "calls are read as x86 encodes them"},

		{arm, "internal/cli", "TestGuestVectorGivenUp", "arm64 has no vectors of a CPU: an interrupt that was moved away leaves nothing to give up (drivers/irqchip/irq-gic-v3.c:gic_set_affinity)"},

		{arm, "internal/cli", "TestVMIsolation", "testdata/isolation.c has instructions of x86"},
		{arm, "internal/partition", "TestVM", "systemd and irqbalance are unpacked for x86 only"},
		{arm, "internal/partition", "TestVMSystemd", "systemd and irqbalance are unpacked for x86 only"},
	}
}

// ExceptionsVariable, set to "run", has the tests of the table run as well.
const ExceptionsVariable = "TASKISO_EXCEPTIONS"

// exceptionsHere are those of the running package on a row.
func exceptionsHere(row string) ([]exception, error) {
	if os.Getenv(ExceptionsVariable) == "run" {
		return nil, nil
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil, errors.New("looking for exceptions of this package: the test binary has no build information")
	}
	pkg := strings.TrimSuffix(strings.TrimPrefix(info.Path, info.Main.Path+"/"), ".test")
	return exceptionsOf(exceptions(), pkg, row), nil
}

// exceptionsOf returns those of a package on a row.
func exceptionsOf(all []exception, pkg, row string) []exception {
	return slices.DeleteFunc(slices.Clone(all), func(e exception) bool {
		return e.pkg != pkg || !slices.Contains(e.rows, row)
	})
}

// find returns the exception of a test.
func find(all []exception, test string) (exception, bool) {
	i := slices.IndexFunc(all, func(e exception) bool { return e.test == test })
	if i < 0 {
		return exception{}, false
	}
	return all[i], true
}

// skipping returns a pattern for go test -skip of what pattern leaves out and of all tests in the table.
func skipping(pattern string, all []exception) string {
	var patterns []string
	if pattern != "" {
		patterns = append(patterns, pattern)
	}
	for _, e := range all {
		patterns = append(patterns, exactly(e.test))
	}
	return strings.Join(patterns, "|")
}

// exactly matches a test of that name, whose elements go test compares one by one.
func exactly(test string) string {
	elements := strings.Split(test, "/")
	for i, element := range elements {
		elements[i] = "^" + regexp.QuoteMeta(element) + "$"
	}
	return strings.Join(elements, "/")
}
