// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tuned is Debian's, with a message bus of its own, as tuned-adm wants it.
type tuned struct{ daemons []*exec.Cmd }

// startTuned starts it with no profile. What a system's init prepares is prepared here: users of the bus, links that
// packages make when they are installed, and a place for logs. There is no polkitd: tuned then lets root do all. There
// is no systemd and no boot loader, to whose configuration the profile would write for the next boot.
func startTuned(t *testing.T, isolated string) *tuned {
	t.Helper()
	linkPrograms(t)
	for _, dir := range []string{"/run/dbus", "/var/log/tuned", "/run/tuned", "/var/lib/tuned", "/var/lib/dbus"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for file, text := range map[string]string{
		"/etc/passwd":     "root:x:0:0:root:/root:/bin/sh\nmessagebus:x:100:100::/nonexistent:/bin/false\n",
		"/etc/group":      "root:x:0:\nmessagebus:x:100:\n",
		"/etc/machine-id": strings.Repeat("0123456789abcdef", 2) + "\n",
		"/etc/tuned/cpu-partitioning-variables.conf": "isolated_cores=" + isolated + "\nno_balance_cores=" + isolated + "\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// Else the bus would start a polkitd that cannot run here, and each request would wait for it.
	if err := os.Remove("/usr/share/dbus-1/system-services/org.freedesktop.PolicyKit1.service"); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	s := &tuned{}
	s.daemon(t, "dbus-daemon", "--system", "--nofork", "--nopidfile")
	eventually(t, "there is a message bus", func() bool {
		_, err := os.Stat("/run/dbus/system_bus_socket")
		return err == nil
	})
	s.daemon(t, "/usr/sbin/tuned", "-l")
	eventually(t, "tuned answers", func() bool {
		out, _ := exec.Command("/usr/sbin/tuned-adm", "active").CombinedOutput() // its status is 1 without a profile
		return strings.Contains(string(out), "active profile") && !strings.Contains(string(out), "Cannot talk") && !strings.Contains(string(out), "not running")
	})
	return s
}

// linkPrograms makes the links that a merged /usr has, and awk.
func linkPrograms(t *testing.T) {
	t.Helper()
	programs, err := filepath.Glob("/usr/bin/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range programs {
		if err := os.Symlink(p, "/bin/"+filepath.Base(p)); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"/sbin": "/usr/sbin", "/usr/bin/awk": "/usr/bin/gawk", "/bin/sh": "/bin/bash"} {
		if err := os.Symlink(target, link); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
	}
}

func (s *tuned) daemon(t *testing.T, name string, args ...string) {
	t.Helper()
	c := exec.Command(name, args...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	s.daemons = append(s.daemons, c)
}

func (s *tuned) stop() {
	for _, c := range s.daemons {
		_ = c.Process.Kill()
		_ = c.Wait()
	}
}

func (s *tuned) adm(args ...string) (time.Duration, error) {
	begin := time.Now()
	out, err := exec.Command("/usr/sbin/tuned-adm", args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("tuned-adm %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return time.Since(begin), err
}
