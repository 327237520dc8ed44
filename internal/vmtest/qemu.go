// SPDX-License-Identifier: Apache-2.0

package vmtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/vmtest/wire"
)

// errNotUp is the end of a guest that had not even begun after bootTime.
var errNotUp = errors.New("guest did not come up")

// errNoResult is the end of a guest that did not report one.
var errNoResult = errors.New("guest ended without result")

// maxOutput bounds what a guest may write, in bytes.
const maxOutput = 64 << 20

// powerOffTime is how long QEMU may live on after the guest's last frame.
const powerOffTime = 10 * time.Second

// machine is one boot.
type machine struct {
	platform platform
	qemu     []string // command and first arguments
	accel    string
	model    string // of its CPUs, as QEMU names it; empty: all that the accelerator has
	kernel   string
	initrd   string
	cmdline  []string
	cpus     int
	memory   int           // MiB
	nodes    int           // of NUMA
	console  string        // file for the console's text
	patience time.Duration // how long to wait for it to begin
}

// outcome is what a guest reported.
type outcome struct {
	hello  wire.Hello
	output []byte
	end    wire.End
	accel  string
	total  time.Duration
}

func (o outcome) summary() string {
	return fmt.Sprintf("%s: booted after %s s, ended after %.1f s", o.accel, o.hello.Uptime, o.total.Seconds())
}

func (m machine) command() []string {
	return slices.Concat(m.qemu, []string{
		"-nodefaults", "-no-user-config", "-display", "none",
		"-machine", m.platform.machine, "-accel", m.accel, "-cpu", m.cpuModel(),
		"-smp", strconv.Itoa(m.cpus), "-m", strconv.Itoa(m.memory),
		// With panic=-1 a panic reboots at once, and a reboot ends QEMU.
		"-no-reboot",
		"-kernel", m.kernel, "-initrd", m.initrd, "-append", strings.Join(m.kernelParameters(), " "),
		"-chardev", "file,id=console,path=" + strings.ReplaceAll(m.console, ",", ",,"),
		"-chardev", "stdio,id=result,signal=off",
	}, m.platform.ports("console", "result"), m.numa())
}

// numa gives each node its part of the CPUs and of the memory.
func (m machine) numa() []string {
	var args []string
	for n := range m.nodes {
		cpus := m.cpus / m.nodes
		args = append(args,
			"-object", fmt.Sprintf("memory-backend-ram,id=node%d,size=%dM", n, m.memory/m.nodes),
			"-numa", fmt.Sprintf("node,nodeid=%d,cpus=%d-%d,memdev=node%d", n, n*cpus, (n+1)*cpus-1, n))
	}
	return args
}

func (m machine) cpuModel() string {
	switch {
	case m.model != "":
		return m.model
	case m.accel == accelKVM:
		return "host"
	}
	return m.platform.model
}

func (m machine) kernelParameters() []string {
	return append([]string{"console=" + m.platform.console, "panic=-1", "oops=panic"}, m.cmdline...)
}

// boot runs the machine until its guest has reported, or ctx ends. QEMU is dead when it returns.
func (m machine) boot(ctx context.Context) (outcome, error) {
	running, kill := context.WithCancelCause(ctx)
	defer kill(nil)
	argv := m.command()
	cmd := exec.CommandContext(running, argv[0], argv[1:]...)
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	var complaints strings.Builder
	cmd.Stderr = &complaints
	stream, err := cmd.StdoutPipe()
	if err != nil {
		return outcome{}, fmt.Errorf("creating a pipe: %w", err)
	}
	// The kernel sends the death signal when the thread that started QEMU ends, not the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return outcome{}, fmt.Errorf("starting QEMU: %w", err)
	}
	late := time.AfterFunc(m.patience, func() { kill(fmt.Errorf("%w within %v", errNotUp, m.patience)) })
	defer late.Stop()
	result, err := receive(stream, func() { late.Stop() })
	cause := context.Cause(running)
	if err != nil && !errors.Is(err, wire.ErrTruncated) {
		kill(nil)
	}
	timer := time.AfterFunc(powerOffTime, func() { kill(nil) })
	defer timer.Stop()
	_, _ = io.Copy(io.Discard, stream)
	waitErr := cmd.Wait()
	result.accel, result.total = m.accel, time.Since(start)
	if err != nil {
		return result, explain(err, cause, waitErr, complaints.String())
	}
	return result, nil
}

func explain(err, cause, waitErr error, complaints string) error {
	if cause != nil {
		err = fmt.Errorf("%w (%w)", err, cause)
	}
	return fmt.Errorf("%w: %w\nQEMU: %v\n%s", errNoResult, err, waitErr, complaints)
}

// receive reads frames until the last one, and calls begun after the first. With an
// error it returns what came before.
func receive(stream io.Reader, begun func()) (outcome, error) {
	var got outcome
	frames := wire.NewDecoder(stream)
	for {
		f, err := frames.Decode()
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		if len(got.output)+len(f.Output) > maxOutput {
			return got, fmt.Errorf("reading test output: more than %d bytes", maxOutput)
		}
		got.add(f)
		begun()
	}
}

func (o *outcome) add(f wire.Frame) {
	switch {
	case f.Hello != nil:
		o.hello = *f.Hello
	case f.End != nil:
		o.end = *f.End
	}
	o.output = append(o.output, f.Output...)
}

// consoleTail returns the last lines of a console log.
func consoleTail(path string, lines int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(strings.ReplaceAll(string(data), "\r", ""), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
