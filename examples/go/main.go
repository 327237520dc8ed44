// SPDX-License-Identifier: Apache-2.0

// Go is a busy loop that is isolated, learns what broke its isolation, and enters
// again. Run it under taskiso, on an isolated CPU, and the rest of Go's threads
// on others:
//
//	GODEBUG=asyncpreemptoff=1 taskiso run -c 3 --start-on 0-1 -- ./go -cpu 3
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/taskiso/taskiso"
)

func main() {
	cpu := flag.Int("cpu", 3, "isolated CPU to run on")
	breaks := flag.Int("breaks", 3, "how many breaks to show")
	every := flag.Int("every", 50_000_000, "rounds of work before the loop breaks its isolation itself")
	flag.Parse()
	if err := run(*cpu, *breaks, *every); err != nil {
		fmt.Fprintln(os.Stderr, "go:", err)
		os.Exit(1)
	}
}

func run(cpu, breaks, every int) error {
	debug.SetGCPercent(-1) // a collection would stop the loop
	for _, problem := range taskiso.Problems(cpu) {
		fmt.Println("problem:", problem)
	}
	runtime.LockOSThread()
	t, err := taskiso.Open(cpu)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for range breaks {
		if err := t.Enter(ctx, 0); err != nil {
			return err
		}
		rounds := work(t, every)
		tell(t, rounds)
	}
	return t.Close()
}

// work is the loop that must not be interrupted. After every rounds it makes a
// system call, which breaks its isolation.
func work(t *taskiso.Thread, every int) (rounds int) {
	for t.Isolated() {
		if rounds++; rounds == every {
			syscall.Getppid()
		}
	}
	return rounds
}

func tell(t *taskiso.Thread, rounds int) {
	s := t.Status()
	fmt.Printf("broken after %d rounds and %v by %s (%#x)\n", rounds, (s.Last.Time - s.Since).Round(time.Microsecond), s.Last.Cause, s.Last.Detail)
	for range 100 {
		if id, text, ok := t.Story(); ok {
			fmt.Printf("  %s: %s\n", id, text)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Println("  no story within a second")
}
