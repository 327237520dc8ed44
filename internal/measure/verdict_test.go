// SPDX-License-Identifier: Apache-2.0

package measure

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/noise"
	"github.com/taskiso/taskiso/internal/task"
)

// What ended a measurement comes before what is doubtful about it, and that before a gap.
func TestVerdict(t *testing.T) {
	doubts := []noise.Doubt{{Text: "100% of it is doubtful"}}
	gap := &noise.Exceeded{CPU: 3, Gap: noise.ExplainedGap{Length: 30 * time.Microsecond}}
	for _, tc := range []struct {
		report noise.Report
		want   task.Outcome
		reason string
	}{
		{noise.Report{EndedBy: task.ByDuration}, task.Passed, ""},
		{noise.Report{EndedBy: task.ByInterrupt}, task.Passed, ""},
		{noise.Report{EndedBy: byTraceLimit, Exceeded: gap}, task.Exceeded, "a gap of 30.0 µs on CPU 3, with a --trace-limit of 20µs"},
		{noise.Report{EndedBy: byTraceLimit, Exceeded: gap, Doubts: doubts}, task.Unknown, "100% of it is doubtful"},
		{noise.Report{EndedBy: byMove, Exceeded: gap, Doubts: doubts}, task.Unknown, "moved off its CPU"},
		{noise.Report{EndedBy: byClock, Exceeded: gap, Doubts: doubts}, task.Unknown, "the clock began to enter the kernel"},
		{noise.Report{EndedBy: task.ByExit, Exceeded: gap, Doubts: doubts}, task.Unknown, "the busy loop was ended: exit status 0"},
	} {
		m := measurement{cfg: Config{TraceLimit: 20 * time.Microsecond}, report: tc.report, ended: new(os.ProcessState)}
		v := m.verdict()
		if v.Outcome != tc.want || (v.Reason == nil) != (tc.reason == "") || v.Reason != nil && !strings.Contains(v.Reason.Error(), tc.reason) {
			t.Errorf("ended by %q: %v, %v; want %v, %q", tc.report.EndedBy, v.Outcome, v.Reason, tc.want, tc.reason)
		}
	}
}
