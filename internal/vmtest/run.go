// SPDX-License-Identifier: Apache-2.0

package vmtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/vmtest/debian"
	"github.com/taskiso/taskiso/internal/vmtest/initramfs"
)

// Config says what [Run] boots and runs. Its zero value runs all guest tests on all kernels without parameters.
type Config struct {
	// Cmdline is added to the kernel's command line, for example [Isolated].
	Cmdline string
	// Kernels are the rows to run on, by the names they have in [debian.Rows]: [debian.Suites] if empty. Also are rows
	// beside those. RowsVariable chooses others.
	Kernels []string
	Also    []string
	// Tests selects guest tests, as go test -run does. If it is empty all tests with [Prefix] run. Elements after the
	// host test's own name in go test -run narrow it down.
	Tests string
	// Skip leaves some of them out, as go test -skip does.
	Skip string
	// Args are more flags of the test binary, for example -test.short.
	Args []string
	// Env are more environment variables of the tests, as KEY=value.
	Env []string
	// Files maps absolute paths in the guest to files or directories of the host. A dynamically linked program brings
	// its libraries along. Tests run in directory /test.
	Files map[string]string
	// Programs are files as well, which are other ones for each architecture.
	Programs map[string]Program
	// Modules are kernel modules for [LoadModule], where the kernel has them.
	Modules []string
	// Model is what the CPUs are, as QEMU names it; the host's, or all that can be emulated, if empty.
	Model string
	// Daemons adds systemd and irqbalance of the kernel's suite, which are not started. Systemd starts the first of
	// them as the first process of the guest, with the tests as its only service.
	Daemons bool
	Systemd bool
	// CPUs is the number of CPUs, 4 if zero. Memory is in MiB, 1024 if zero. Nodes is the number of NUMA nodes that
	// share both evenly: node n has the n-th part of the CPUs, in their order. It must divide both; none if zero.
	CPUs   int
	Memory int
	Nodes  int
	// Timeout bounds the tests in one guest, ten minutes if zero. Booting has a limit of its own.
	Timeout time.Duration
	// Output, if set, is called with what the tests wrote in each guest and the release of its kernel, for one guest
	// after the other.
	Output func(release, text string)
}

// bootTime bounds what a guest may take besides its tests. Four CPUs under TCG boot in five seconds on an idle host.
const bootTime = 90 * time.Second

func (c Config) withDefaults() Config {
	if c.Tests == "" {
		c.Tests = "^" + Prefix
	}
	if c.CPUs == 0 {
		c.CPUs = 4
	}
	if c.Memory == 0 {
		c.Memory = 1024
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Minute
	}
	return c
}

// Run runs guest tests of the calling package on each kernel: as a subtest per kernel, which has a subtest for every
// test of the guest, with its result and output. The package's TestMain must call [Main].
//
// The kernels' subtests are parallel, so that they begin when the calling test has returned: what it does with their
// results belongs in a t.Cleanup.
//
// A kernel or QEMU that is not there skips the subtest with the reason; where skips are not allowed, it fails.
func Run(t *testing.T, c Config) {
	t.Helper()
	c = c.withDefaults()
	have, err := findSupply(c.rows())
	if err != nil {
		skip(t, "%v", err)
	}
	kits := c.kits(t)
	if output := c.Output; output != nil {
		var one sync.Mutex
		c.Output = func(release, text string) {
			one.Lock()
			defer one.Unlock()
			output(release, text)
		}
	}
	for _, k := range have.kernels {
		excepted, err := exceptionsHere(k.row)
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := find(excepted, t.Name()); ok {
			t.Logf("not run on %s: %s", k.name, e.because)
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			t.Parallel() // as many at a time as there are slots
			if k.missing != "" {
				skip(t, "no kernel of %s: %s", k.name, k.missing)
			}
			c := c
			c.Skip = skipping(c.Skip, excepted)
			runOn(t, c, k, have, kits[k.arch])
		})
	}
}

func runOn(t *testing.T, c Config, k kernel, have supply, build func() (kit, error)) {
	t.Helper()
	m := c.machine(t, k, have)
	made, err := build()
	if err != nil {
		t.Fatalf("building for the guest: %v", err)
	}
	result, err := c.execute(t, m, k, made, have.cache)
	t.Logf("%s, %s", result.hello.Release, result.summary())
	if c.Output != nil {
		c.Output(result.hello.Release, string(result.output))
	}
	conclude(t, result, err)
	if t.Failed() {
		t.Logf("end of the console, all of it is in %s (go test -artifacts keeps it):\n%s",
			m.console, consoleTail(m.console, 25))
	}
}

func (c Config) machine(t *testing.T, k kernel, have supply) machine {
	if c.Systemd {
		c.Cmdline += " " + systemdParameters
	}
	return machine{
		platform: platforms()[k.arch],
		qemu:     have.qemu[k.arch], model: c.Model, kernel: k.image, cmdline: strings.Fields(c.Cmdline), cpus: c.CPUs, memory: c.Memory, nodes: c.Nodes,
		initrd: filepath.Join(t.TempDir(), "initramfs"), console: filepath.Join(t.ArtifactDir(), "console.log"),
		patience: bootTime,
	}
}

// execute boots m when its turn has come and returns what its guest reported.
func (c Config) execute(t *testing.T, m machine, k kernel, made kit, cache string) (outcome, error) {
	t.Helper()
	if err := c.pack(t, m.initrd, k, made); err != nil {
		t.Fatalf("packing the guest's files: %v", err)
	}
	m.accel = chooseAccel(t, cache, k.arch, m)
	unlock := waitForLock(t, slots(cache, m.accel)...)
	defer unlock()
	return c.bootTwice(t, m)
}

// bootTwice boots m, and once more if its guest does not begin.
func (c Config) bootTwice(t *testing.T, m machine) (outcome, error) {
	t.Helper()
	got, err := c.boot(t, m)
	if errors.Is(err, errNotUp) {
		// Seen once in hundreds of boots, with Linux 7.2: QEMU runs and nothing is printed. No test has begun.
		t.Logf("%v\nend of the console:\n%s\nbooting once more", err, consoleTail(m.console, 10))
		got, err = c.boot(t, m)
	}
	return got, err
}

func (c Config) boot(t *testing.T, m machine) (outcome, error) {
	ctx, cancel := context.WithTimeoutCause(t.Context(), c.Timeout+bootTime,
		fmt.Errorf("no end after %v of tests and %v of booting", c.Timeout, bootTime))
	defer cancel()
	return m.boot(ctx)
}

// conclude turns what a guest reported into results of the host's test.
func conclude(t *testing.T, result outcome, bootErr error) {
	t.Helper()
	if bootErr != nil {
		t.Error(bootErr)
	}
	tests, err := decodeOutput(t.Context(), result.output)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range tests.tests {
		t.Run(test.name, test.replay)
	}
	if err := consistent(result, tests); bootErr == nil && err != nil {
		t.Errorf("%v\n%s", err, tests.output.String())
	}
}

// consistent compares how the test binary ended with what its tests said.
func consistent(result outcome, tests *report) error {
	switch end := result.end; {
	case end.Error != "":
		return fmt.Errorf("running the tests in the guest: %s", end.Error)
	case end.Signal != "":
		return fmt.Errorf("signal %s ended the tests in the guest", end.Signal)
	case (end.ExitCode != 0) != tests.failed():
		return fmt.Errorf("the guest's tests ended with exit code %d, which their results do not explain", end.ExitCode)
	case len(tests.tests) == 0:
		return errors.New("no test ran in the guest")
	}
	return nil
}

// slots has a file for each guest that may run at a time, whichever processes start them. An emulated guest is one thread
// of QEMU, however many CPUs it has; under KVM each of its CPUs is a thread.
func slots(cache, accel string) []string {
	n := runtime.NumCPU()
	if accel == accelKVM {
		n = max(1, n/4)
	}
	files := make([]string, n)
	for i := range files {
		files[i] = filepath.Join(cache, "slots", strconv.Itoa(i))
	}
	return files
}

// waitForLock waits until it can lock one of the files, whichever it is.
func waitForLock(t *testing.T, files ...string) (unlock func()) {
	t.Helper()
	ctx := t.Context()
	for {
		for _, file := range files {
			unlock, err := debian.TryLock(file)
			if err == nil {
				return unlock
			}
			if !errors.Is(err, unix.EWOULDBLOCK) {
				t.Fatal(err)
			}
		}
		select {
		case <-ctx.Done():
			t.Fatal("waiting for other guests to end: ", ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// pack writes the guest's root filesystem to path.
func (c Config) pack(t *testing.T, path string, k kernel, made kit) error {
	modules, err := k.modulesNamed(t.Context(), t.TempDir(), c.Modules)
	if err != nil {
		return err
	}
	what := order{Args: c.guestArgs(t), Env: c.guestEnv(k)}
	if c.Systemd {
		what.Init = systemd
	}
	todo, err := json.Marshal(what)
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w, err := initramfs.NewWriter(f)
	if err != nil {
		return err
	}
	// Before devtmpfs is mounted the Go runtime wants /dev/null, and the kernel /dev/console.
	errs := []error{
		w.CharDevice("dev/console", 0o600, 5, 1),
		w.CharDevice("dev/null", 0o666, 1, 3),
		w.HostFile(t.Context(), "init", made.init),
		w.File(orderFile, 0o644, int64(len(todo)), strings.NewReader(string(todo))),
	}
	for _, files := range []map[string]string{c.Files, made.programs, modules} {
		for guest, host := range files {
			errs = append(errs, foreign(host, k.arch), w.HostFile(t.Context(), guest, host))
		}
	}
	if c.Systemd {
		errs = append(errs, packService(w))
	}
	if c.Systemd || c.Daemons {
		errs = append(errs, packDaemons(t.Context(), w, k.daemons))
	}
	return errors.Join(append(errs, w.Close())...)
}
