// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/clock"
	"github.com/taskiso/taskiso/internal/proc"
)

// slack is what a guest that is emulated beside others may take for anything that is to happen at once.
const slack = 20 * time.Second

// A parent that waits for its child of vfork(2) to end waits for as long as that is held, and no longer.
func TestGuestVforkWaits(t *testing.T) {
	k := keep(t, Config{})
	p := begin(t, "vforked")
	held := k.waits(t, 1)[0]
	// Which of the parent's threads called vfork(2) is the Go runtime's choice, and the child can be held before it waits.
	parent := parentOf(t, held.PID)
	eventually(t, "a thread of the parent waits for a child of vfork(2)", func() bool { return hasState(parent, "D") })
	time.Sleep(200 * time.Millisecond)
	out := k.endByHand(t, p)
	var waited time.Duration
	if ms := 0; !strings.HasPrefix(out, "0done after ") {
		t.Fatalf("got %q, want the operation done", out)
	} else if _, err := fmt.Sscanf(out, "0done after %d ms", &ms); err != nil {
		t.Fatalf("got %q: %v", out, err)
	} else {
		waited = time.Duration(ms+1) * time.Millisecond
	}
	if r := k.only(t); r.Held < 200*time.Millisecond || waited < r.Held || waited > r.Held+slack {
		t.Errorf("held for %v, and the parent waited for %v", r.Held, waited)
	}
}

// hasState reports whether a thread of a process is in a state.
func hasState(pid int, want string) bool {
	return slices.ContainsFunc(threadsOf(pid), func(tid int) bool {
		stat, err := proc.ReadStat(os.DirFS("/"), proc.Thread(pid, tid))
		return err == nil && stat.State == want
	})
}

func parentOf(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	parent := 0
	for line := range strings.Lines(string(text)) {
		fmt.Sscanf(line, "PPid: %d", &parent)
	}
	return parent
}

// Whoever waits for every change of a child's state sees its end, and no stop because of a hold.
func TestGuestWaitidSeesTheEndOnly(t *testing.T) {
	k := keep(t, Config{})
	p := k.heldUnseen(t, "waited")
	time.Sleep(200 * time.Millisecond)
	if out := k.endByHand(t, p); out != "exited done" {
		t.Errorf("the parent saw %q, want the end only", out)
	}
}

// A cgroup with a held process freezes at once, and what is let go there goes on when it is thawed.
func TestGuestFreezes(t *testing.T) {
	const dir = "/sys/fs/cgroup/freezes"
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(dir)
	write := func(file, text string) {
		t.Helper()
		if err := os.WriteFile(dir+"/"+file, []byte(text), 0); err != nil {
			t.Fatal(err)
		}
	}
	k := keep(t, Config{})
	p := begin(t, "alone")
	pid := k.waits(t, 1)[0].PID
	write("cgroup.procs", fmt.Sprint(pid))
	defer os.WriteFile(dir+"/cgroup.freeze", []byte("0"), 0)
	write("cgroup.freeze", "1")
	begun := clock.Now()
	eventually(t, "it is frozen", func() bool {
		events, err := os.ReadFile(dir + "/cgroup.events")
		return err == nil && strings.Contains(string(events), "frozen 1")
	})
	if took := clock.Now() - begun; took > slack {
		t.Errorf("freezing took %v", took)
	}
	if _, err := k.Release(All); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond)
	select {
	case err := <-p.done:
		t.Fatalf("it went on in a frozen cgroup: %v, %q", err, p.out.String())
	default:
	}
	write("cgroup.freeze", "0")
	if out := p.ends(); out != "0done" {
		t.Errorf("got %q, want the operation done", out)
	}
	k.only(t).want(t, Held, ByHand)
}

// vforked has the operation done by a child of vfork(2), but for sharing its memory.
func vforked([]string) (string, error) {
	var begun time.Duration
	said, err := alone(func(fd int) (int, error) {
		begun = clock.Now()
		pid, err := forkWaiting(fd)
		afterwards = fmt.Sprintf(" after %d ms", (clock.Now() - begun).Milliseconds())
		return pid, err
	})
	return said, err
}

//go:norace
//go:nosplit
func forkWaiting(fd int) (int, error) {
	runtime.LockOSThread()
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD)|unix.CLONE_VFORK, 0, 0, 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	if pid == 0 {
		operateAlone(fd)
	}
	return int(pid), nil
}

// waited waits as who looks for stops and continuations does.
func waited([]string) (string, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return "", err
	}
	pid, err := forkAlone(fd)
	if err != nil {
		return "", err
	}
	const exited, killed, dumped, trapped, stopped, continued = 1, 2, 3, 4, 5, 6 // CLD_EXITED and so on
	said := ""
	for {
		var info unix.Siginfo
		if err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WSTOPPED|unix.WCONTINUED, nil); err == unix.EINTR {
			continue
		} else if err != nil {
			return "", err
		}
		switch info.Code {
		case exited:
			return said + "exited ", nil
		case killed, dumped:
			return said + "killed ", nil
		case trapped:
			said += "trapped, "
		case stopped:
			said += "stopped, "
		case continued:
			said += "continued, "
		}
	}
}
