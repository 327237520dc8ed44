// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package noise

import (
	"bytes"
	"debug/elf"
	"debug/gosym"
	"os"
	"strings"
	"testing"
)

// assembled returns the machine code of a function in loop_*.s, as it is in this binary. (What Go calls is a function
// that the compiler puts before it.)
func assembled(t *testing.T, name string) []byte {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file, err := elf.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	text, lines := file.Section(".text"), file.Section(".gopclntab")
	if text == nil || lines == nil {
		t.Fatal("no code, or no table of it, in this binary")
	}
	code, err := text.Data()
	if err != nil {
		t.Fatal(err)
	}
	table, err := lines.Data()
	if err != nil {
		t.Fatal(err)
	}
	symbols, err := gosym.NewTable(nil, gosym.NewLineTable(table, text.Addr))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range symbols.Funcs {
		source, _, _ := symbols.PCToLine(f.Entry)
		if strings.HasSuffix(f.Name, "/noise."+name) && strings.HasSuffix(source, ".s") {
			return code[f.Entry-text.Addr : f.End-text.Addr]
		}
	}
	t.Fatalf("no function %s made of assembly in this binary", name)
	return nil
}

// A loop on hardware executes what it has executed ever since, and never yields. Whoever
// changes it on purpose measures it anew (docs/benchmarks.md, "Noise").
func TestLoopOnHardwareDoesNotYield(t *testing.T) {
	code := assembled(t, "spin")
	if bytes.Contains(code, yieldInstruction) {
		t.Errorf("the loop for hardware yields: % x", code)
	}
	if !bytes.Contains(code, hotLoop) {
		t.Errorf("the loop for hardware is no longer the one that was measured: % x", code)
	}
	if other := assembled(t, "spinYielding"); bytes.Count(other, yieldInstruction) != 1 {
		t.Errorf("the loop for an emulator does not yield once: % x", other)
	}
}

// Who is not told to yield does not.
func TestWhoYields(t *testing.T) {
	for _, c := range counters {
		for _, yields := range []bool{false, true} {
			l := NewLoop(c, 0, new(Record))
			l.Yields = yields
			l.spin(c.read(), 0, &l.record.stop)
			if yielding := l.turn != YieldEvery; yielding != (yields && c != Clock) {
				t.Errorf("%s, told to yield: %t, in the loop that does: %t", c, yields, yielding)
			}
		}
	}
}

// A loop yields after YieldEvery readings, however many gaps there are.
func TestYieldingLoop(t *testing.T) {
	for _, threshold := range []uint64{0, never} {
		turn, stop, readings := uint32(YieldEvery), uint32(0), uint64(0)
		if threshold == never {
			stop = 1 // one reading each
		}
		for last := counter(); readings < 3*YieldEvery/2; {
			from, to, samples := spinYielding(last, threshold, &stop, &turn)
			if from < last || to < from || samples != 1 {
				t.Fatalf("gap from %d to %d after %d, %d samples", from, to, last, samples)
			}
			last, readings = to, readings+samples
			if left := YieldEvery - readings%YieldEvery; uint64(turn) != left {
				t.Fatalf("%d readings until it yields after %d, want %d", turn, readings, left)
			}
		}
	}
}
