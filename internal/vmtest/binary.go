// SPDX-License-Identifier: Apache-2.0

package vmtest

import (
	"debug/elf"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// ReleaseVariable tells a guest's tests which kernel they should find, as uname -r says it. It is unset if that is not
// known, because TASKISO_KERNEL names the kernel.
const ReleaseVariable = "TASKISO_GUEST_RELEASE"

// testBinary returns this package's test binary, linked statically. That is the running one, unless cgo (or the race
// detector, which needs it) has made that depend on libraries.
func testBinary(t *testing.T) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	static, err := isStatic(self)
	if err != nil || static {
		return self, err
	}
	return buildStatic(t)
}

func isStatic(path string) (bool, error) {
	f, err := elf.Open(path)
	if err != nil {
		return false, fmt.Errorf("reading %s: %w", path, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return false, nil
		}
	}
	return true, nil
}

// buildStatic builds the package in the working directory, where go test runs its tests. The go command's own cache
// makes this cheap after the first time.
func buildStatic(t *testing.T) (string, error) {
	path := filepath.Join(t.TempDir(), "guest.test")
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("running %s: %w\n%s", cmd, err, out)
	}
	return path, nil
}

// guestArgs are the flags of the test binary in the guest.
func (c Config) guestArgs(t *testing.T) []string {
	run := c.Tests
	if narrowed := below(flag.Lookup("test.run").Value.String(), t.Name()); narrowed != "" {
		run = narrowed
	}
	args := []string{"-test.v=test2json", "-test.run=" + run, "-test.timeout=" + c.Timeout.String()}
	if testing.Short() {
		args = append(args, "-test.short")
	}
	return append(args, c.Args...)
}

// below returns the part of a -run pattern that selects subtests of the test called name. Alternatives ("A/x|B/y")
// select nothing below: then everything runs.
func below(pattern, name string) string {
	if strings.Contains(pattern, "|") {
		return ""
	}
	elements := strings.Split(pattern, "/")
	depth := strings.Count(name, "/") + 1
	return strings.Join(elements[min(depth, len(elements)):], "/")
}

func (c Config) guestEnv(k kernel) []string {
	env := []string{"PATH=/bin:/sbin:/usr/bin:/usr/sbin", "HOME=/tmp", "TMPDIR=/tmp"}
	if k.release != "" {
		env = append(env, ReleaseVariable+"="+k.release)
	}
	return append(env, c.Env...)
}
