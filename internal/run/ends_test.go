// SPDX-License-Identifier: Apache-2.0

package run

import (
	"testing"

	"github.com/taskiso/taskiso/internal/cause"
	"github.com/taskiso/taskiso/internal/partition"
	"github.com/taskiso/taskiso/internal/report"
)

// What a partition ends are causes that the catalogue has.
func TestEndingCausesAreInTheCatalogue(t *testing.T) {
	catalogue, err := cause.Load()
	if err != nil {
		t.Fatal(err)
	}
	for id := range partition.EndingCauses() {
		if _, err := catalogue.Row(id); err != nil {
			t.Error(err)
		}
	}
}

// Threads of the task itself stay together in a partition, and nobody knows whose a task was that took the CPU.
func TestPartitionOfReports(t *testing.T) {
	for _, tc := range []struct {
		kind    string
		threads int
		cause   string
		ending  partition.Ending
		want    string
	}{
		{kindLoop, 1, "task-user", partition.Ends, report.PartitionEnds},
		{"command", 1, "task-user", partition.Ends, report.PartitionEnds},
		{"command", 2, "task-user", partition.Ends, report.PartitionUnknown},
		{"process", 2, "task-user", partition.Ends, report.PartitionUnknown},
		{"command", 2, "irq", partition.Ends, report.PartitionEnds},
		{kindCPUs, 20, "task-user", partition.Ends, report.PartitionEnds},
		{"command", 1, "irq", partition.Unclear, report.PartitionUnknown},
		{"command", 1, "tick", partition.Remains, ""},
	} {
		task := report.Task{Kind: tc.kind, Threads: tc.threads}
		if got := partitionOf(&task, tc.cause, tc.ending); got != tc.want {
			t.Errorf("%s with %d threads, %s %s: %q, want %q", tc.kind, tc.threads, tc.cause, tc.ending, got, tc.want)
		}
	}
}
