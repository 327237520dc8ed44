// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"os"
	"time"

	"github.com/taskiso/taskiso/internal/proc"
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
	status, _ := proc.ReadStatus(os.DirFS("/"), proc.Process(pid)) // nothing is 0
	return status.Number("VmHWM") << 10
}
