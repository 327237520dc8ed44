// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// peakInterval is how often the mark is read: what a process takes in its last moments is not seen.
const peakInterval = 50 * time.Millisecond

// FollowMemory follows the most memory that a process has had until the returned function is called, which gives it in
// bytes. The kernel's account after its end, ru_maxrss, is also that of who started it: until exec they have the same
// memory, and exec keeps its mark (exec_mmap, setmax_mm_hiwater_rss).
func FollowMemory(pid int) (peak func() int64) {
	stop, result := make(chan struct{}), make(chan int64)
	go func() {
		var most int64
		for {
			most = max(most, highWater(pid))
			select {
			case <-stop:
				result <- most
				return
			case <-time.After(peakInterval):
			}
		}
	}()
	return func() int64 {
		close(stop)
		return <-result
	}
}

// highWater returns VmHWM of proc_pid_status(5) in bytes, 0 for a process without memory, as one that has ended.
func highWater(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, value, _ := strings.Cut(string(text), "\nVmHWM:")
	value, _, _ = strings.Cut(value, "kB")
	kilobytes, _ := strconv.ParseInt(strings.TrimSpace(value), 10, 64) // nothing is 0
	return kilobytes << 10
}
