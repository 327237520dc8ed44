// SPDX-License-Identifier: Apache-2.0

package record

import (
	"bytes"
	"compress/flate"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/hold/operation"
	"github.com/taskiso/taskiso/internal/report"
)

// secrets are names that no redacted recording may have.
var secrets = []string{"pricing", "goldfish", "/opt/acme/pricing", "acme", "--token=hunter2", "hunter2", "web01", "customer.slice", "secretmod", "operator"}

const kernelAddress = 0xffffffff9a000000

// secretive is a recording in which all of these occur, and addresses of the kernel.
func secretive(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	h := header()
	h.Task = report.Task{Kind: "command", Command: []string{"/opt/acme/pricing", "--token=hunter2"}, Left: []report.Process{{PID: 7, Name: "goldfish"}}}
	h.Limits = []string{"the task pricing ran from /opt/acme/pricing on CPU 3"}
	w, err := NewWriter(&out, h, kernel{})
	if err != nil {
		t.Fatal(err)
	}
	w.Begin(1)
	for i := range uint64(3) {
		at := time.Duration(1+2*i) * chunkTime
		w.Batch(one(at, event.Event{
			Kind: event.SendCall, A: 3, B: kernelAddress, C: kernelAddress + 64*i,
			Sender: &event.Sender{PID: 5, Name: "goldfish", Cgroup: 4711, Stack: []uint64{kernelAddress + 2, kernelAddress + 4*i}},
		}).Batch)
		w.Held(operation.Record{Command: "operator", Cgroup: "/customer.slice", Detail: "secretmod", Outcome: operation.Held})
		w.Batch(one(at+1, event.Event{Kind: event.Switch, Task: &event.Task{TID: 7, PID: 7, Name: "pricing"}}).Batch)
		w.Batch(one(at+2, event.Event{Kind: event.Switch, Task: &event.Task{TID: 9, Name: "rcu_preempt", Kernel: true}}).Batch)
		w.Batch(one(at+3, event.Event{Kind: event.SyscallExit, A: 1, B: ^uint64(21)}).Batch)
	}
	r := &report.Report{Task: h.Task, Limits: []string{"pricing had no CPU"}, CPUs: []report.CPU{{Causes: []report.Cause{{Detail: "goldfish"}}}}}
	files := Files{Patterns: []string{"proc/cmdline"}, Found: map[string]Content{"proc/cmdline": {Text: "nohz_full=3 systemd.hostname=web01 quiet\n"}}}
	if err := w.Close(&End{Report: r, Ending: Ending{Files: files}}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A redacted recording has no name that it had, in no chunk, and no address of the kernel; all that happened is in it.
func TestRedact(t *testing.T) {
	whole := secretive(t)
	for _, secret := range secrets { // else the test shows nothing
		if !bytes.Contains(inflated(t, whole), []byte(secret)) {
			t.Errorf("%s is not in the recording", secret)
		}
	}
	var out, again bytes.Buffer
	for _, to := range []*bytes.Buffer{&out, &again} {
		if err := Redact(bytes.NewReader(whole), to); err != nil {
			t.Fatal(err)
		}
	}
	text := inflated(t, out.Bytes())
	for _, secret := range secrets {
		if bytes.Contains(text, []byte(secret)) {
			t.Errorf("%s is in the redacted recording", secret)
		}
	}
	for _, kept := range []string{"nohz_full=3", "quiet", "rcu_preempt", "ran from", "function_"} {
		if !bytes.Contains(text, []byte(kept)) {
			t.Errorf("%s is not in it any more", kept)
		}
	}
	if bytes.Equal(out.Bytes(), again.Bytes()) {
		t.Error("another time the pseudonyms are the same: they can be found by trying names")
	}
	checkRedacted(t, whole, out.Bytes())
}

// checkRedacted compares the events of two recordings.
func checkRedacted(t *testing.T, whole, redacted []byte) {
	t.Helper()
	want, _, err := read(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	got, r, err := read(bytes.NewReader(redacted))
	if err != nil || r.End == nil || len(got) != len(want) {
		t.Fatalf("%d items, want %d, err %v", len(got), len(want), err)
	}
	names := make(map[string]string)
	for i := range want {
		a, _ := want[i].(Batch)
		b, _ := got[i].(Batch)
		if len(a.Events) != len(b.Events) || a.Until != b.Until {
			t.Fatalf("item %d is %+v, want %+v", i, b, a)
		}
		for j := range a.Events {
			checkRedactedEvent(t, &a.Events[j], &b.Events[j], names)
		}
	}
	if len(names) != 2 {
		t.Errorf("pseudonyms are %q", names)
	}
}

func checkRedactedEvent(t *testing.T, a, b *event.Event, names map[string]string) {
	t.Helper()
	if a.Kind != b.Kind || a.Time != b.Time {
		t.Errorf("an event is %+v, want %+v", b, a)
	}
	addresses := []uint64{b.A, b.B, b.C, b.UserIP}
	if b.Sender != nil {
		addresses = slices.Concat(addresses, b.Sender.Stack)
		same(t, names, a.Sender.Name, b.Sender.Name)
		if b.Sender.Cgroup == a.Sender.Cgroup {
			t.Error("the cgroup has its number")
		}
	}
	if b.Task != nil && !a.Task.Kernel {
		same(t, names, a.Task.Name, b.Task.Name)
	}
	for _, addr := range addresses {
		if addr>>24 == kernelAddress>>24 {
			t.Errorf("%#x is an address of the kernel", addr)
		}
	}
	if a.Kind == event.SyscallExit && b.B != a.B {
		t.Errorf("a system call returned %#x, want %#x", b.B, a.B)
	}
}

// same checks that a name has one pseudonym.
func same(t *testing.T, names map[string]string, original, name string) {
	t.Helper()
	if before, ok := names[original]; ok && before != name || original == name || len(name) > 15 {
		t.Errorf("%q is %q, and %q", original, name, before)
	}
	names[original] = name
}

// inflated is all that a recording holds.
func inflated(t *testing.T, recording []byte) []byte {
	t.Helper()
	var text bytes.Buffer
	s := newSource(bytes.NewReader(recording[len(magic):]))
	for {
		c, err := s.next()
		if err == io.EOF {
			return text.Bytes()
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(c.content) == 0 {
			continue
		}
		if _, err := io.Copy(&text, flate.NewReader(bytes.NewReader(c.content))); err != nil {
			t.Fatal(err)
		}
	}
}

// A recording without an end, and one with a gap, stay what they are.
func TestRedactWhatIsNotWhole(t *testing.T) {
	whole := secretive(t)
	b := borders(t, whole)
	damaged := bytes.Clone(whole)
	damaged[b[1]] ^= 1
	for name, recording := range map[string][]byte{"without an end": whole[:b[2]], "damaged": damaged} {
		var out bytes.Buffer
		if err := Redact(bytes.NewReader(recording), &out); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want, wasOf, err := read(bytes.NewReader(recording))
		if err != nil {
			t.Fatal(err)
		}
		got, r, err := read(&out)
		if err != nil || (r.End == nil) != (wasOf.End == nil) || len(batchesOf(got)) != len(batchesOf(want)) {
			t.Errorf("%s: %v, want %v, err %v", name, got, want, err)
		}
		isGap := func(i Item) bool { _, ok := i.(Gap); return ok }
		if slices.ContainsFunc(got, isGap) != slices.ContainsFunc(want, isGap) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// A snapshot has the reason why it was taken, and that can have a name.
func TestRedactSnapshot(t *testing.T) {
	p, err := newPseudonyms()
	if err != nil {
		t.Fatal(err)
	}
	p.name("pricing")
	part := &Part{PartOf: report.PartOf{Snapshot: &report.Snapshot{Trigger: "cause", Reason: "another task ran: pricing"}}}
	h := p.header(Header{Part: part})
	if got := h.Part.Snapshot.Reason; strings.Contains(got, "pricing") || part.Snapshot.Reason != "another task ran: pricing" {
		t.Errorf("the reason is %q, and was %q", got, part.Snapshot.Reason)
	}
}

func TestNamesInTexts(t *testing.T) {
	p, err := newPseudonyms()
	if err != nil {
		t.Fatal(err)
	}
	p.name("app")
	for text, kept := range map[string]bool{"app": false, "an app.": false, "application": true, "(app)": false, "app2": true, "/proc/sys/x": true, "/home/me": false} {
		if got := p.text(text); (got == text) != kept || strings.Contains(got, "/home") {
			t.Errorf("%q is %q", text, got)
		}
	}
}
