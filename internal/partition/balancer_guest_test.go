// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/partition/change"
)

// startBalancer starts Debian's irqbalance with rounds of a second, and returns the
// path of its socket.
func startBalancer(t *testing.T, environment ...string) (socket string, c *exec.Cmd) {
	t.Helper()
	if err := os.MkdirAll("/run/irqbalance", 0o755); err != nil {
		t.Fatal(err)
	}
	restoreInterruptsAfter(t)
	c = exec.Command("/usr/sbin/irqbalance", "--foreground", "--interval=1")
	c.Env = environment
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(unix.SIGTERM)
		_ = c.Wait()
	})
	socket = "/run/irqbalance/irqbalance" + strconv.Itoa(c.Process.Pid) + ".sock"
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		// The file is there as soon as irqbalance has bound the socket, before it listens.
		if conn, err := net.Dial("unix", socket); err == nil {
			_ = conn.Close()
			return socket, c
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// restoreInterruptsAfter gives each interrupt its CPUs back when the test is over:
// irqbalance does not, and other tests count what is left to move.
func restoreInterruptsAfter(t *testing.T) {
	t.Helper()
	before := affinities(t)
	t.Cleanup(func() {
		for path, cpus := range affinities(t) {
			if cpus == before[path] {
				continue
			}
			if err := os.WriteFile(path, []byte(before[path]), 0); err != nil {
				t.Error(err)
			}
		}
	})
}

// affinities returns the CPUs of each interrupt by its file.
func affinities(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("/proc/irq/*/smp_affinity_list")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[path] = strings.TrimSpace(string(text))
	}
	return all
}

func bannedBy(t *testing.T, socket string) string {
	t.Helper()
	files := machineFiles()
	defer files.Close()
	banned, _, err := change.ReadBanned(files, socket)
	if err != nil {
		t.Fatal(err)
	}
	return banned.String()
}

// interruptsMovable returns the affinity of each interrupt with a handler that can
// be moved, by its number.
func interruptsMovable(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for path, cpus := range affinities(t) {
		n := strings.Split(path, "/")[3]
		actions, err := os.ReadFile("/sys/kernel/irq/" + n + "/actions")
		if err != nil || strings.TrimSpace(string(actions)) == "" || n == "0" || n == "2" {
			continue
		}
		all[n] = cpus
	}
	return all
}

// onIsolated returns the interrupts that were on CPU 2 or 3 at any time within a
// while, in which irqbalance starts anew several times. It returns at once when
// there is one, if that is what is hoped for.
func onIsolated(t *testing.T, c *exec.Cmd, while time.Duration, hoped bool) map[string]string {
	t.Helper()
	seen := map[string]string{}
	hup := time.Now()
	for deadline := time.Now().Add(while); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if hoped && len(seen) > 0 {
			break
		}
		if time.Since(hup) > 2500*time.Millisecond {
			hup = time.Now()
			if err := c.Process.Signal(unix.SIGHUP); err != nil {
				t.Fatal(err)
			}
		}
		for n, cpus := range interruptsMovable(t) {
			if strings.ContainsAny(cpus, "23") && cpus != "0-3" {
				seen[n] = cpus
			}
		}
	}
	return seen
}

// TestGuestBalancer: irqbalance, which may use CPUs 0, 2 and 3, no longer moves
// interrupts to 2 and 3 after create, and has its own list back after undo.
func TestGuestBalancer(t *testing.T) {
	socket, c := startBalancer(t, "IRQBALANCE_BANNED_CPULIST=1")
	if got := bannedBy(t, socket); got != "1" {
		t.Fatalf("it keeps off CPU %s from the beginning, want 1", got)
	}
	if seen := onIsolated(t, c, 20*time.Second, true); len(seen) == 0 {
		t.Errorf("irqbalance never moved an interrupt to CPU 2 or 3, so this test cannot fail; now %v", interruptsMovable(t))
	} else {
		t.Logf("before: %v", seen)
	}
	s := machineStore(t.TempDir())
	created, err := s.Create(t.Context(), guestSpec)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range created.Missed {
		if e.Setting == balancerSetting {
			t.Errorf("without effect: %v", e)
		}
	}
	if got := bannedBy(t, socket); got != "1-3" {
		t.Errorf("it keeps off CPU %s, want 1-3", got)
	}
	// An interrupt that only irqbalance can bring to another CPU shows that it goes on.
	moved := ""
	for n, cpus := range interruptsMovable(t) {
		if cpus == "0" {
			moved = "/proc/irq/" + n + "/smp_affinity_list"
		}
	}
	if moved == "" {
		t.Fatalf("no interrupt is on CPU 0: %v", interruptsMovable(t))
	}
	if err := os.WriteFile(moved, []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	if seen := onIsolated(t, c, 6*time.Second, false); len(seen) > 0 {
		t.Errorf("irqbalance moved interrupts to isolated CPUs: %v", seen)
	}
	if text, err := os.ReadFile(moved); err != nil || strings.TrimSpace(string(text)) != "0" {
		t.Errorf("%s has %q, %v: irqbalance does not balance any more", moved, text, err)
	}
	v, err := s.Verify(t.Context(), "guest")
	if err != nil || len(v.Drifts) > 0 {
		t.Errorf("verify: %v, %v", v, err)
	}
	if err := s.Undo(t.Context(), "guest", false); err != nil {
		t.Error(err)
	}
	if got := bannedBy(t, socket); got != "1" {
		t.Errorf("after undo it keeps off CPU %s, want 1", got)
	}
	if seen := onIsolated(t, c, 20*time.Second, true); len(seen) == 0 {
		t.Error("after undo it does not use CPU 2 and 3 any more")
	}
}

// TestGuestBalancerByItself: of an irqbalance that was told nothing it is told to
// find out again, so that it still follows what the kernel isolates; and an empty
// list is an empty list again.
func TestGuestBalancerByItself(t *testing.T) {
	socket, _ := startBalancer(t)
	if got := bannedBy(t, socket); got != "2-3" {
		t.Errorf("it keeps off CPU %s by itself, want those of nohz_full=", got)
	}
	files := machineFiles()
	defer files.Close()
	for _, banned := range []string{"", "0"} {
		c := change.Change{Path: socket, From: banned, To: "2-3", Kind: change.Banned{}}
		if err := c.Restore(files); err != nil {
			t.Error(err)
		}
		if got := bannedBy(t, socket); got != banned {
			t.Errorf("it keeps off CPU %q, want %q", got, banned)
		}
	}
	c := change.Change{Path: socket, From: "2-3", To: "1-3", Kind: change.Banned{}}
	asked := &asker{Machine: files}
	if err := c.Restore(asked); err != nil {
		t.Error(err)
	}
	if want := "settings cpus NULL"; !slices.Contains(asked.requests, want) {
		t.Errorf("it was asked %q, want %q among them", asked.requests, want)
	}
}

// asker notes what programs are asked.
type asker struct {
	Machine
	requests []string
}

func (a *asker) Ask(socket, request string) (string, error) {
	a.requests = append(a.requests, request)
	return a.Machine.Ask(socket, request)
}
