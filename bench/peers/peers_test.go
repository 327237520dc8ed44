// SPDX-License-Identifier: Apache-2.0

package peers

import "testing"

// What each peer writes for a getppid, for a call with a number that begins alike, and
// for a function call.
func TestEventIn(t *testing.T) {
	for name, text := range map[string]string{
		"perf trace": "     2.647 :13898/13898 raw_syscalls:sys_enter(id: 110, args: 140465399326924)\n" +
			"     2.648 :13898/13898 raw_syscalls:sys_enter(id: 1101)\n     3.1 bench/1 csd:csd_queue_cpu(cpu: 1)\n",
		"trace-cmd": " bench-1 [001] 1.2: sys_enter:            NR 110 (0, 0, 0, 0, 0, 0)\n bench-1 [001] 1.2: sys_enter:            NR 1 (110)\n" +
			" bench-1 [000] 1.3: csd_queue_cpu:        cpu=1\n",
		"bpftrace": "Attaching 8 probes...\nsys_enter: NR 110\nsys_enter: NR 11\ntracepoint:raw_syscalls:sys_exit\ncsd_queue_cpu bench\n",
	} {
		if all, calls, functions := SystemCall.in([]byte(text)), Getppid.in([]byte(text)), FunctionCall.in([]byte(text)); all != 2 || calls != 1 || functions != 1 {
			t.Errorf("%s: %d, %d and %d in %q, want 2, 1 and 1", name, all, calls, functions, text)
		}
	}
}
