// SPDX-License-Identifier: Apache-2.0

package vmtest

import (
	"context"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
)

// Program makes a program for machines of an architecture, as Go names it, and puts it into directory dir if it has to be
// built. It returns the path, which is empty if there is no such program for that architecture.
type Program func(ctx context.Context, dir, arch string) (path string, err error)

// GoProgram is the command of a package of this module, for example "cmd/taskiso".
func GoProgram(pkg string) Program {
	return func(ctx context.Context, dir, arch string) (string, error) {
		path := filepath.Join(dir, filepath.Base(pkg))
		return path, goBuild(ctx, arch, "build", "-o", path, "github.com/taskiso/taskiso/"+pkg)
	}
}

// CProgram is compiled of one file. For another architecture than this machine's it is linked statically: its libraries
// are not where the loader of the host finds them.
func CProgram(source string, flags ...string) Program {
	return func(ctx context.Context, dir, arch string) (string, error) {
		path := filepath.Join(dir, strings.TrimSuffix(filepath.Base(source), ".c"))
		args := append([]string{"-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O2", "-pthread"}, flags...)
		if arch != runtime.GOARCH {
			args = append(args, "-static")
		}
		cc := exec.CommandContext(ctx, platforms()[arch].compiler, append(args, "-o", path, source)...)
		if out, err := cc.CombinedOutput(); err != nil {
			return "", fmt.Errorf("compiling %s for %s: %w\n%s", source, arch, err, out)
		}
		return path, nil
	}
}

// HostProgram is one of this machine. Guests of another architecture have none.
func HostProgram(path string) Program {
	return func(_ context.Context, _, arch string) (string, error) {
		if arch != runtime.GOARCH {
			return "", nil
		}
		return path, nil
	}
}

// Build makes a program for this machine.
func Build(t *testing.T, p Program) string {
	t.Helper()
	path, err := p(t.Context(), t.TempDir(), runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// goBuild runs the go command so that what it builds is linked statically, and under the conditions that this program
// was built under.
func goBuild(ctx context.Context, arch, command string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{command, "-tags=" + buildTags()}, args...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("running %s for %s: %w\n%s", cmd, arch, err, out)
	}
	return nil
}

func buildTags() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "-tags" {
			return s.Value
		}
	}
	return ""
}

// kit is what is built for the guests of one architecture.
type kit struct {
	init     string            // the test binary
	programs map[string]string // as in Config.Programs
}

// kits has what builds each architecture's kit, once.
func (c Config) kits(t *testing.T) map[string]func() (kit, error) {
	ctx, dir := t.Context(), t.TempDir()
	all := map[string]func() (kit, error){}
	for arch := range platforms() {
		all[arch] = sync.OnceValues(func() (kit, error) { return c.build(ctx, filepath.Join(dir, arch), arch) })
	}
	return all
}

func (c Config) build(ctx context.Context, dir, arch string) (kit, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return kit{}, err
	}
	binary, err := testBinary(ctx, dir, arch)
	if err != nil {
		return kit{}, err
	}
	made := kit{init: binary, programs: map[string]string{}}
	for guest, program := range c.Programs {
		own, err := os.MkdirTemp(dir, "program") // two can come from one source
		if err != nil {
			return kit{}, err
		}
		path, err := program(ctx, own, arch)
		if err != nil {
			return kit{}, err
		}
		if path != "" {
			made.programs[guest] = path
		}
	}
	return made, nil
}

// testBinary returns this package's test binary, linked statically. That is the running one, unless the guest's
// architecture is another, or cgo (or the race detector, which needs it) has made that depend on libraries.
func testBinary(ctx context.Context, dir, arch string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	interpreter, err := hasInterpreter(self)
	if err != nil || !interpreter && arch == runtime.GOARCH {
		return self, err
	}
	// Of the working directory, where go test runs a package's tests.
	path := filepath.Join(dir, "guest.test")
	return path, goBuild(ctx, arch, "test", "-c", "-o", path, ".")
}

func hasInterpreter(path string) (bool, error) {
	f, err := elf.Open(path)
	if err != nil {
		return false, fmt.Errorf("reading %s: %w", path, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return true, nil
		}
	}
	return false, nil
}

// foreign returns an error if the file at path is a program for another architecture than arch.
func foreign(path, arch string) error {
	f, err := elf.Open(path)
	if err != nil {
		return nil //nolint:nilerr // scripts, data and directories are files as well
	}
	defer f.Close()
	if f.Machine != platforms()[arch].elf {
		return fmt.Errorf("packing %s for a guest of %s: it is a program for %s, see Config.Programs", path, arch, f.Machine)
	}
	return nil
}
