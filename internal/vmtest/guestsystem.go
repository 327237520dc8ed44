// SPDX-License-Identifier: Apache-2.0

package vmtest

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// mounts is what a test may expect to find. The order matters.
func mounts() []mount {
	const safe = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	return []mount{
		{"proc", "/proc", safe, ""},
		{"sysfs", "/sys", safe, ""},
		{"devtmpfs", "/dev", unix.MS_NOSUID, "mode=0755"},
		{"devpts", "/dev/pts", unix.MS_NOSUID | unix.MS_NOEXEC, "ptmxmode=0666"},
		{"tmpfs", "/dev/shm", unix.MS_NOSUID | unix.MS_NODEV, ""},
		{"tmpfs", "/tmp", unix.MS_NOSUID | unix.MS_NODEV, ""},
		{"tmpfs", "/run", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755"},
		{"securityfs", "/sys/kernel/security", safe, ""},
		{"debugfs", "/sys/kernel/debug", safe, ""},
		{"tracefs", "/sys/kernel/tracing", safe, ""},
		{"cgroup2", "/sys/fs/cgroup", safe, ""},
		{"bpf", "/sys/fs/bpf", safe, ""},
	}
}

type mount struct {
	fstype, target string
	flags          uintptr
	data           string
}

func (m mount) mount() error {
	// sysfs has mount points of its own and allows no others.
	if err := os.MkdirAll(m.target, 0o755); err != nil {
		return fmt.Errorf("creating mount point for %s: %w", m.fstype, err)
	}
	if err := unix.Mount(m.fstype, m.target, m.fstype, m.flags, m.data); err != nil {
		return fmt.Errorf("mounting %s on %s: %w", m.fstype, m.target, err)
	}
	return nil
}

// mountAll mounts what the kernel has. A kernel of somebody's own may lack a filesystem; the test that needs it says so.
func mountAll() error {
	for _, m := range mounts() {
		err := m.mount()
		if errors.Is(err, unix.ENODEV) || errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
			fmt.Fprintln(os.Stderr, "vmtest: going on without:", err)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func configure() error {
	if err := unix.Sethostname([]byte("vmtest")); err != nil {
		return fmt.Errorf("setting the host name: %w", err)
	}
	if err := os.MkdirAll(workDir, 0o755); err != nil {
		return fmt.Errorf("creating the work directory: %w", err)
	}
	return loopbackUp()
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening a socket to set lo up: %w", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("setting lo up: %w", err)
	}
	return nil
}

// openPort opens a serial port so that bytes pass unchanged.
func openPort(path string) (*os.File, error) {
	port, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("opening result port: %w", err)
	}
	fd := int(port.Fd())
	mode, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("reading mode of %s: %w", path, err)
	}
	mode.Iflag, mode.Oflag, mode.Lflag = 0, 0, 0
	mode.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL | unix.B115200
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, mode); err != nil {
		return nil, fmt.Errorf("setting mode of %s: %w", path, err)
	}
	return port, nil
}

// keepInterruptsAway moves the interrupts of serial ports to CPU 0. Linux would put one of them on CPU 2, where tests of
// isolation would find vmtest's own noise.
func keepInterruptsAway(ports ...string) error {
	for _, port := range ports {
		if err := moveInterrupt(port); err != nil {
			return fmt.Errorf("moving the interrupt of %s: %w", port, err)
		}
	}
	// An interrupt that is in use moves when it next occurs. The console's is.
	fmt.Fprintln(os.Stderr, "vmtest: running the tests")
	return nil
}

func moveInterrupt(port string) error {
	irq, err := os.ReadFile("/sys/class/tty/" + port + "/irq")
	if err != nil {
		return err
	}
	path := "/proc/irq/" + strings.TrimSpace(string(irq)) + "/smp_affinity_list"
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, os.ErrNotExist) { // an interrupt that no driver asked for at boot has the file while it is in use
		user, openErr := os.OpenFile("/dev/"+port, os.O_RDWR|unix.O_NOCTTY, 0)
		if openErr != nil {
			return openErr
		}
		defer user.Close()
		f, err = os.OpenFile(path, os.O_WRONLY, 0)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString("0"); err != nil {
		return fmt.Errorf("writing 0 to %s: %w", path, err)
	}
	return nil
}

// drain waits until the hardware has taken every byte: powering off would drop the rest.
func drain(port *os.File) error {
	if err := unix.IoctlSetInt(int(port.Fd()), unix.TCSBRK, 1); err != nil {
		return fmt.Errorf("draining %s: %w", port.Name(), err)
	}
	return nil
}
