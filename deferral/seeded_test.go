// SPDX-License-Identifier: Apache-2.0

package deferral

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSeededBugs changes one line of the library's source at a time and
// expects the explorer to notice. A change whose text is no longer there fails
// the test, so that the table follows the code.
func TestSeededBugs(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the package once for each bug")
	}
	for _, bug := range []struct{ name, file, good, bad string }{
		{"record before the work", "steps.go",
			"\to.work = atomic.SwapUint64(&r.state, word(online, o.round)) & workMask\n\treturn handle",
			"\to.work = atomic.SwapUint64(&r.state, word(online, o.round)) & workMask\n\tatomic.StoreUint64(&r.done, o.round)\n\treturn handle"},
		{"enter without looking for work", "steps.go",
			"\tif work == 0 {\n\t\treturn finished\n\t}\n\to.round, o.work = next, work\n\treturn handle",
			"\to.round, o.work = next, work\n\treturn finished"},
		{"enter drops the work", "steps.go",
			"\to.round, o.work = next, work\n\treturn handle",
			"\to.round, o.work = next, 0\n\treturn record"},
		{"enter by plain store", "steps.go",
			"\tif !atomic.CompareAndSwapUint64(&r.state, o.seen, word(online, next)) {\n\t\treturn enterRead\n\t}",
			"\tatomic.StoreUint64(&r.state, word(online, next))"},
		{"enter ignores the pin", "steps.go",
			"\tif o.seen&pinBit != 0 {\n\t\treturn enterRead\n\t}\n",
			""},
		{"catch-up takes nothing", "steps.go",
			"\to.work = atomic.SwapUint64(&r.state, word(online, o.round)) & workMask\n",
			"\to.work = atomic.LoadUint64(&r.state) & workMask\n\tatomic.StoreUint64(&r.state, word(online, o.round))\n"},
		{"catch-up forgets the round", "steps.go",
			"\to.round++\n\to.work = atomic.Swap",
			"\to.work = atomic.Swap"},
		{"record one round too many", "steps.go",
			"atomic.StoreUint64(&r.done, o.round)",
			"atomic.StoreUint64(&r.done, o.round+1)"},
		{"exit without asking", "steps.go",
			"\tif atomic.CompareAndSwapUint64(&r.state, word(online, o.round), word(state, o.round)) {\n\t\treturn finished\n\t}",
			"\tif w := atomic.SwapUint64(&r.state, word(state, o.round)); w != 0 {\n\t\treturn finished\n\t}"},
		{"exit keeps work but leaves", "steps.go",
			"\to.leaving = exitTry\n\tif state == detached {\n\t\to.leaving = detachTry\n\t}\n\treturn catchTake",
			"\tatomic.AndUint64(&r.state, ^uint64(stateMask))\n\tatomic.OrUint64(&r.state, state)\n\treturn finished"},
		{"exit stops after serving", "steps.go",
			"\to.leaving = exitTry\n",
			""},
		{"post overwrites other work", "steps.go",
			"p.mark = atomic.OrUint64(&r.state, p.bits)",
			"p.mark = atomic.LoadUint64(&r.state)\n\tatomic.StoreUint64(&r.state, p.mark&^workMask|p.bits)"},
		{"mark moves the round", "steps.go",
			"p.mark = atomic.OrUint64(&r.state, p.bits)",
			"p.mark = atomic.AddUint64(&r.state, 1<<roundShift|p.bits)"},
		{"ticket one round late", "steps.go",
			"\tp.round = roundOf(p.mark, p.before)\n",
			"\tp.round = roundOf(p.mark, p.before) + 1\n"},
		{"ticket one round early", "steps.go",
			"if atomic.LoadUint64(&r.done) > p.round {",
			"if atomic.LoadUint64(&r.done) >= p.round {"},
		{"ticket done when online", "steps.go",
			"if atomic.LoadUint64(&r.state)&stateMask != online {\n\t\treturn finished",
			"if atomic.LoadUint64(&r.state)&stateMask == online {\n\t\treturn finished"},
		{"poster takes online for away", "steps.go",
			"return p.mark&stateMask != online",
			"return p.mark&stateMask == online"},
		{"pin without checking the state", "steps.go",
			"if p.seen&stateMask == online || p.seen&pinBit != 0 {",
			"if p.seen&pinBit != 0 {"},
		{"pin by plain or", "steps.go",
			"p.held = atomic.CompareAndSwapUint64(&r.state, p.seen, p.seen|pinBit)",
			"p.held = atomic.OrUint64(&r.state, pinBit) != 0"},
		{"unpin clears work", "steps.go",
			"atomic.AndUint64(&r.state, ^uint64(pinBit))",
			"atomic.AndUint64(&r.state, ^uint64(pinBit|workMask))"},
		{"takeover drops what the dead had taken", "steps.go",
			"\tif uint32(w>>roundShift) != uint32(done) {\n\t\tw |= workMask\n\t}\n",
			""},
		{"takeover drops posted work", "steps.go",
			"w = w&^stateMask | state",
			"w = w&^(stateMask|workMask) | state"},
		{"round of the mark is lost", "word.go",
			"return recorded + uint64(uint32(w>>roundShift)-uint32(recorded))",
			"return recorded"},
		{"publisher writes the middle buffer", "cell.go",
			"return c.boxes[back], nil", "return c.boxes[(back+1)%3], nil"},
		{"publish exchanges with front", "cell.go",
			"compose(front, back, middle)|fresh", "compose(back, middle, front)|fresh"},
		{"publish forgets to say fresh", "cell.go",
			"compose(front, back, middle)|fresh", "compose(front, back, middle)"},
		{"take leaves it fresh", "cell.go",
			"compose(middle, front, back))\n\treturn taken", "compose(middle, front, back)|fresh)\n\treturn taken"},
		{"publish by plain store", "cell.go",
			"return atomic.CompareAndSwapUint64(c.ctl, ctl, compose(front, back, middle)|fresh)",
			"atomic.StoreUint64(c.ctl, compose(back, front, middle)|fresh)\n\treturn true"},
	} {
		t.Run(bug.name, func(t *testing.T) {
			out, err := testWith(t, bug.file, bug.good, bug.bad)
			if err == nil {
				t.Fatalf("the explorer did not notice")
			}
			t.Log(findings(t, out))
		})
	}
}

// testWith runs the explorer on the package with one change in one file.
func testWith(t *testing.T, file, good, bad string) (string, error) {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), good); n != 1 {
		t.Fatalf("%s contains the text to change %d times, not once:\n%s", file, n, good)
	}
	dir := t.TempDir()
	changed := filepath.Join(dir, "changed.go")
	if err := os.WriteFile(changed, []byte(strings.Replace(string(source), good, bad, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	path, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {path: changed}})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "test", "-short", "-vet=off", "-count=1", "-timeout=120s", "-overlay", list, "-run", "^TestExplore", ".")
	if file == "steps.go" {
		cmd.Env = append(os.Environ(), sourceOfSteps+"="+changed)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// findings returns what the explorer said; anything else, such as a compile
// error, is not a bug found.
func findings(t *testing.T, out string) string {
	t.Helper()
	var found []string
	for line := range strings.Lines(out) {
		if _, what, ok := strings.Cut(line, "violated: "); ok {
			found = append(found, strings.TrimSpace(what))
		}
	}
	if len(found) == 0 {
		t.Fatalf("the test failed, but not with a violation:\n%s", out)
	}
	return found[0]
}
