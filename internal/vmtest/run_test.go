// SPDX-License-Identifier: Apache-2.0

package vmtest

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/vmtest/debian"
	"github.com/taskiso/taskiso/internal/vmtest/wire"
)

const (
	seedVariable = "VMTEST_SEED"
	floodLines   = 50_000
)

// TestGuestSeed goes wrong as the host wants it, so that the host can see that this is noticed.
func TestGuestSeed(t *testing.T) {
	switch seed := os.Getenv(seedVariable); seed {
	case "fail":
		t.Run("bad", func(t *testing.T) { t.Error("seeded") })
		t.Run("skipped", func(t *testing.T) { t.Skip("seeded") })
		t.Run("good", func(*testing.T) {})
	case "flood":
		for i := range floodLines {
			fmt.Println("line", i)
		}
	case "exit":
		os.Exit(0)
	case "kill":
		self, _ := os.FindProcess(os.Getpid())
		_ = self.Kill()
		time.Sleep(time.Minute)
	case "panic":
		if err := os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0); err != nil {
			t.Error(err)
		}
	case "hang":
		// Take init's CPUs away too: only the host can end this.
		runtime.GOMAXPROCS(8)
		var never atomic.Bool
		for range 8 {
			go func() {
				for !never.Load() {
				}
			}()
		}
		time.Sleep(time.Hour)
	case "":
	default:
		t.Errorf("unknown seed %q", seed)
	}
}

func TestHostSeesWhatTheGuestDid(t *testing.T) {
	k, have := firstKernel(t)
	for seed, check := range map[string]func(t *testing.T, got outcome, err error){
		"fail": func(t *testing.T, got outcome, err error) {
			if err != nil || got.end.ExitCode != 1 {
				t.Fatalf("guest ended with %+v, %v", got.end, err)
			}
			r, err := decodeOutput(t.Context(), got.output)
			if err != nil {
				t.Fatal(err)
			}
			checkTree(t, r, "TestGuestSeed:fail( bad:fail( ) skipped:skip( ) good:pass( ) ) ")
		},
		"flood": func(t *testing.T, got outcome, err error) {
			if err != nil {
				t.Fatal(err)
			}
			var want strings.Builder
			for i := range floodLines {
				fmt.Fprintln(&want, "line", i)
			}
			if !strings.Contains(string(got.output), want.String()) {
				t.Errorf("%d bytes of output came, they are not what the guest wrote", len(got.output))
			}
		},
		"exit": func(t *testing.T, got outcome, err error) {
			wantInconsistent(t, got, err, "exit code")
		},
		"kill": func(t *testing.T, got outcome, err error) {
			wantInconsistent(t, got, err, "SIGKILL")
		},
		"panic": func(t *testing.T, got outcome, err error) {
			if !errors.Is(err, errNoResult) || !errors.Is(err, wire.ErrTruncated) {
				t.Errorf("error is %v", err)
			}
		},
	} {
		t.Run(seed, func(t *testing.T) {
			c := Config{Tests: "^TestGuestSeed$", Env: []string{seedVariable + "=" + seed}}.withDefaults()
			m := c.machine(t, k, have)
			got, err := c.execute(t, m, k, kitFor(t, c, k), have.cache)
			t.Log(got.summary())
			check(t, got, err)
			if t.Failed() {
				t.Logf("output:\n%s\nconsole:\n%s", got.output, consoleTail(m.console, 20))
			}
		})
	}
}

func wantInconsistent(t *testing.T, got outcome, err error, reason string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	r, err := decodeOutput(t.Context(), got.output)
	if err != nil {
		t.Fatal(err)
	}
	if err := consistent(got, r); err == nil || !strings.Contains(err.Error(), reason) {
		t.Errorf("error is %v, want one about %s", err, reason)
	}
}

// A guest that never ends is ended when its time is up.
func TestHangingGuestIsEnded(t *testing.T) {
	k, have := firstKernel(t)
	c := Config{Tests: "^TestGuestSeed$", Env: []string{seedVariable + "=hang"}, Timeout: 15*time.Second - bootTime}.withDefaults()
	m := c.machine(t, k, have)
	got, err := c.execute(t, m, k, kitFor(t, c, k), have.cache)
	if !errors.Is(err, errNoResult) || !strings.Contains(err.Error(), "no end after") {
		t.Errorf("guest ended with %+v, %v", got.end, err)
	}
	if got.total > c.Timeout+bootTime+5*time.Second {
		t.Errorf("QEMU lived for %v, the limit was %v", got.total, c.Timeout+bootTime)
	}
	t.Logf("%s, booted after %s s, killed after %v", got.hello.Release, got.hello.Uptime, got.total)
}

func firstKernel(t *testing.T) (kernel, supply) {
	t.Helper()
	have, err := findSupply(debian.Suites())
	if err != nil {
		skip(t, "%v", err)
	}
	if k := have.kernels[0]; k.missing != "" {
		skip(t, "%s", k.missing)
	}
	return have.kernels[0], have
}

func kitFor(t *testing.T, c Config, k kernel) kit {
	t.Helper()
	made, err := c.kits(t)[k.arch]()
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestConsoleTail(t *testing.T) {
	path := t.TempDir() + "/console"
	if err := os.WriteFile(path, []byte("a\r\nb\r\nc\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := consoleTail(path, 2); got != "b\nc" {
		t.Errorf("tail is %q", got)
	}
	if got := consoleTail(path+"x", 2); !strings.Contains(got, "no such file") {
		t.Errorf("tail of a missing file is %q", got)
	}
}

func TestAnswersAreForgottenAtBoot(t *testing.T) {
	path := t.TempDir() + "/kvm.json"
	if err := writeAnswers(path, map[string]bool{"boot1 q k": true, "boot2 q k": true}); err != nil {
		t.Fatal(err)
	}
	if got := readAnswers(path, "boot2"); len(got) != 1 || !got["boot2 q k"] {
		t.Errorf("answers are %v", got)
	}
	if got := readAnswers(path+"x", "boot2"); len(got) != 0 {
		t.Errorf("answers of a missing file are %v", got)
	}
}

func TestNodesShareCPUsAndMemory(t *testing.T) {
	got := machine{cpus: 4, memory: 1024, nodes: 2}.numa()
	want := []string{
		"-object", "memory-backend-ram,id=node0,size=512M", "-numa", "node,nodeid=0,cpus=0-1,memdev=node0",
		"-object", "memory-backend-ram,id=node1,size=512M", "-numa", "node,nodeid=1,cpus=2-3,memdev=node1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := (machine{cpus: 4, memory: 1024}).numa(); len(got) != 0 {
		t.Errorf("without nodes: %q", got)
	}
}
