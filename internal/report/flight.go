// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"time"

	"github.com/taskiso/taskiso/internal/display"
)

// Flight is what became of a flight recorder.
type Flight struct {
	Dir     string `json:"directory"`
	Kept    []Kept `json:"kept"`
	Omitted uint64 `json:"omitted,omitempty"` // snapshots beyond those listed
	Failed  uint64 `json:"failed"`            // of all
	// PassedOver counts what triggered while another snapshot was taken, or so short after one that there was nothing new.
	PassedOver uint64 `json:"passed_over"`
	Peak       uint64 `json:"peak_bytes"` // of memory
	Bound      uint64 `json:"bound_bytes"`
}

// Kept is a snapshot, or why there is none.
type Kept struct {
	File    string        `json:"file,omitempty"`
	Trigger string        `json:"trigger"`
	Reason  string        `json:"reason,omitempty"`
	At      time.Duration `json:"at_ns"` // since the beginning of the observation
	Failed  string        `json:"failed,omitempty"`
}

func (k *Kept) String() string {
	if k.Failed != "" {
		return fmt.Sprintf("a snapshot because of %s could not be kept: %s", k.Trigger, k.Failed)
	}
	return fmt.Sprintf("snapshot %s at %s because of %s: %s", k.File, display.Span(k.At), k.Trigger, k.Reason)
}

func (f *Flight) String() string {
	n := uint64(len(f.Kept)) + f.Omitted
	text := fmt.Sprintf("%s in %s", display.Plural(n-f.Failed, "snapshot", "snapshots"), f.Dir)
	if f.Failed > 0 {
		text += fmt.Sprintf(", %d could not be kept", f.Failed)
	}
	if f.PassedOver > 0 {
		text += fmt.Sprintf(", %s passed over", display.Plural(f.PassedOver, "trigger", "triggers"))
	}
	return text
}

func (t *text) flight(f *Flight) {
	if f == nil {
		return
	}
	t.Printf("\n%s  %s; up to %s of memory, of %s\n", t.Paint(display.Bold, "flight recorder"), f, mebibytes(f.Peak), mebibytes(f.Bound))
	for i := range f.Kept {
		t.Printf("  %s\n", &f.Kept[i])
	}
	if f.Omitted > 0 {
		t.Printf("  and %d more\n", f.Omitted)
	}
}

func mebibytes(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
