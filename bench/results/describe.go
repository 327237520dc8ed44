// SPDX-License-Identifier: Apache-2.0

package results

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Describe begins a file with the machine and the date.
func Describe(command string) (*File, error) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return nil, fmt.Errorf("asking for the kernel's name: %w", err)
	}
	return &File{
		Command: command,
		Machine: fmt.Sprintf("%s, %d CPUs, Linux %s, %s", model(), runtime.NumCPU(), unix.ByteSliceToString(uts.Release[:]), runtime.Version()),
		Date:    time.Now().UTC().Format(time.DateOnly),
		Raw:     true,
	}, nil
}

// model returns the name of the CPUs.
func model() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown CPU"
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, _ := strings.Cut(lines.Text(), ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}

// Load says how busy the machine was on average in the last 15 minutes.
func Load() string {
	text, err := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 3 {
		return "unknown"
	}
	return "load average of 1, 5 and 15 minutes in the end, with the benchmark's own: " + strings.Join(fields[:3], ", ")
}

// Versions returns the versions of Debian's packages.
func Versions(packages ...string) map[string]string {
	versions := make(map[string]string)
	for _, p := range packages {
		out, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", p).Output()
		if err != nil {
			out = []byte("unknown")
		}
		versions[p] = string(out)
	}
	return versions
}
