// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/taskiso/taskiso/cpulist"
)

// booted is a machine of 8 CPUs with what a kernel of some release has made of its
// command line.
func booted(t testing.TB, r release, line string) fstest.MapFS {
	t.Helper()
	is := r.isolate(arguments(line), set(t, "0-7"), true)
	nohzFull := is[tickKind].String()
	if nohzFull == "" {
		nohzFull = "(null)"
	}
	files := fstest.MapFS{}
	for name, text := range map[string]string{
		"proc/cmdline":                                                    line,
		"proc/sys/kernel/osrelease":                                       r.String() + ".3-test",
		"sys/devices/system/cpu/online":                                   "0-7",
		"sys/devices/system/cpu/possible":                                 "0-7",
		"sys/devices/system/cpu/isolated":                                 is[domainKind].String(),
		"sys/devices/system/cpu/nohz_full":                                nohzFull,
		"sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc",
	} {
		files[name] = &fstest.MapFile{Data: []byte(text + "\n")}
	}
	if r >= 6011 {
		files["sys/module/rcutree/parameters/nohz_full_patience_delay"] = &fstest.MapFile{Data: []byte("0\n")}
	}
	return files
}

func set(t testing.TB, list string) cpulist.Set {
	t.Helper()
	s, err := cpulist.ParseSysfs(list)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func bootOf(t testing.TB, cpus string, files fstest.MapFS) *Boot {
	t.Helper()
	b, err := NewBoot(Spec{CPUs: cpus}, files)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestArguments compares with what next_arg of the kernel makes of these lines.
func TestArguments(t *testing.T) {
	for line, want := range map[string]string{
		`a b=c`:                             "a: b:c",
		` nohz-full=2-3   quiet `:           "nohz_full:2-3 quiet:",
		`isolcpus="managed_irq,2-3" x`:      "isolcpus:managed_irq,2-3 x:",
		`"isolcpus=2-3" "quiet"`:            "isolcpus:2-3 quiet:",
		`dyndbg="file a.c +p ; x" nohz=off`: "dyndbg:file a.c +p ; x nohz:off",
		`isolcpus="2-3 nohz_full=1`:         "isolcpus:2-3 nohz_full=1",
		`isolcpus=2"-"3`:                    `isolcpus:2"-"3`,
		`x=" y`:                             "x: y",
		`x="" y`:                            "x: y:",
		`a -- nohz_full=1`:                  "a:",
		`a --x`:                             "a: __x:",
	} {
		var got []string
		for _, a := range arguments(line) {
			got = append(got, a.name+":"+a.value)
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%s: got %s, want %s", line, text, want)
		}
	}
}

// TestIsolate has what kernels make of lines; TestGuestBootLines has the same of real ones.
func TestIsolate(t *testing.T) {
	for _, test := range []struct {
		line                  string
		release               release
		domain, managed, tick string
	}{
		{"isolcpus=1-2", 4009, "1-2", "", ""},
		{"isolcpus=1-2 isolcpus=4", 4009, "4", "", ""},
		{"isolcpus=domain,1-2", 4009, "", "", ""},
		{"isolcpus=managed_irq,domain,1-2", 5004, "", "", ""},
		{"isolcpus=managed_irq,domain,1-2", 5006, "1-2", "1-2", ""},
		{"isolcpus=other,1-2", 5006, "", "", ""},
		{"isolcpus=other,1-2", 5008, "1-2", "", ""},
		{"isolcpus=1-2 nohz_full=1-3", 5010, "1-2", "", ""},
		{"isolcpus=1-2 nohz_full=1-3", 6001, "1-2", "", "1-3"},
		{"nohz_full=1 nohz_full=2", 6001, "", "", "1"},
		{"nohz_full=2-3 isolcpus=nohz,domain,managed_irq,2-3", 6012, "2-3", "2-3", "2-3"},
		{"nohz_full=2-3 isolcpus=nohz,domain,managed_irq,2-3", 7002, "", "", "2-3"},
		{"isolcpus=nohz,domain,managed_irq,2-3 nohz_full=2-3", 7002, "2-3", "2-3", "2-3"},
		{"isolcpus=all", 6012, "", "", ""},
		{"isolcpus=4-N:1/2", 6012, "4,6", "", ""},
		{"isolcpus=0-8", 6012, "", "", ""},
		{"isolcpus=0-7", 6012, "1-7", "", ""},
		{"isolcpus=0-3 nohz_full=4-7", 6012, "0-3", "", "4-7"},
		{"isolcpus=0-3 nohz_full=4-7", 6019, "0-3", "", ""},
	} {
		is := test.release.isolate(arguments(test.line), set(t, "0-7"), true)
		got := fmt.Sprint(is[domainKind], is[managedKind], is[tickKind])
		if want := fmt.Sprint(set(t, test.domain), set(t, test.managed), set(t, test.tick)); got != want {
			t.Errorf("%v, %s: got %s, want %s", test.release, test.line, got, want)
		}
	}
}

func TestBootWords(t *testing.T) {
	const others = " irqaffinity=0-1,4-7 rcutree.nohz_full_patience_delay=1000"
	for _, test := range []struct {
		release    release
		line, want string
		reason     string // of one of the words
	}{
		{6012, "quiet", "nohz_full=2-3 isolcpus=managed_irq,2-3" + others + " tsc=nowatchdog", ""},
		{6012, "tsc=reliable quiet", "nohz_full=2-3 isolcpus=managed_irq,2-3" + others, ""},
		{6012, "nohz_full=2-3 isolcpus=domain,managed_irq,2-N:2/7 tsc=nowatchdog", others[1:], ""},
		{6012, "nohz_full=1 tsc=nowatchdog isolcpus=2", "nohz_full=2-3 isolcpus=domain,managed_irq,2-3" + others, "ask for 1-3 to keep them"},
		{6012, "nohz_full=2-3 nohz_full=1 -- tsc=nowatchdog", "isolcpus=managed_irq,2-3" + others + " tsc=nowatchdog", ""},
		{6012, `isolcpus="managed_irq,2-3" nohz-full=2-3 "tsc=nowatchdog"`, others[1:], ""},
		{6012, "isolcpus=nohz,domain,2-3 tsc=nowatchdog", "isolcpus=nohz,domain,managed_irq,2-3" + others, "by the flag nohz of isolcpus="},
		{6012, "nohz_full=2-3 isolcpus=nohz,domain,managed_irq,2-3 tsc=nowatchdog", others[1:], ""},
		{7002, "nohz_full=2-3 isolcpus=nohz,domain,managed_irq,2-3 tsc=nowatchdog", "isolcpus=domain,managed_irq,2-3" + others, "isolcpus-dropped"},
		{7002, "isolcpus=nohz,domain,managed_irq,2-3 tsc=nowatchdog", others[1:], ""},
		{7002, "isolcpus=nohz,managed_irq,2 tsc=nowatchdog", "nohz_full=2-3 isolcpus=managed_irq,2-3" + others, ""},
		{5004, "isolcpus=2-3 tsc=nowatchdog", "nohz_full=2-3 irqaffinity=0-1,4-7", "leave isolcpus= as it is"},
		{5004, "isolcpus=1-3 tsc=nowatchdog", "nohz_full=1-3 irqaffinity=0,4-7", "before 5.6"},
		{5004, "isolcpus=1-2 tsc=nowatchdog", "nohz_full=2-3 isolcpus=2-3 irqaffinity=0-1,4-7", "ask for 1-3 to keep them"},
		{4009, "isolcpus=1-2 tsc=reliable", "nohz_full=2-3 isolcpus=2-3 irqaffinity=0-1,4-7", "does not know the flag managed_irq"},
	} {
		b := bootOf(t, "2-3", booted(t, test.release, test.line))
		if got := b.Line(); got != test.want {
			t.Errorf("%v booted with %q: got %q, want %q", test.release, test.line, got, test.want)
		}
		found := slices.ContainsFunc(b.Words, func(w BootWord) bool { return strings.Contains(w.Reason, test.reason) })
		if !found && !strings.Contains(test.reason, "before 5.6") {
			t.Errorf("%v booted with %q: no reason %q in %+v", test.release, test.line, test.reason, b.Words)
		}
	}
}

// TestBootBackport: a kernel that has the flag although its number says that it
// cannot is told by what it did.
func TestBootBackport(t *testing.T) {
	files := booted(t, 5010, "isolcpus=managed_irq,domain,2-3")
	files["proc/sys/kernel/osrelease"] = &fstest.MapFile{Data: []byte("4.18.0-553.el8_10.x86_64\n")}
	if w := bootOf(t, "2-3", files).Words[1]; w.State != Set {
		t.Errorf("got %+v, want it set", w)
	}
}

// TestBootKeeps boots every kernel with random lines, and then with what is proposed
// instead: the CPUs that were asked for never lose anything, whatever is said to be
// set is in effect, and what is proposed has its effect on them. Where the kernel's
// release is not known the same holds.
func TestBootKeeps(t *testing.T) {
	random := rand.New(rand.NewPCG(16, 2026))
	proposed, rounds := 0, 5000
	if thorough {
		rounds = 50000
	}
	for range rounds {
		r := behaviours[random.IntN(len(behaviours))]
		if r == 0 {
			r = 4009
		}
		line, asked := randomLine(random), randomList(random)
		files := booted(t, r, line)
		if random.IntN(2) == 0 {
			delete(files, "proc/sys/kernel/osrelease")
		}
		b, err := NewBoot(Spec{CPUs: asked}, files)
		if err != nil {
			continue // all CPUs, or none
		}
		if b.Line() != "" {
			proposed++
		}
		checkBoot(t, r, line, b)
	}
	if proposed < rounds/2 {
		t.Errorf("%d of %d lines were proposed, want half of them and more", proposed, rounds)
	}
}

// FuzzBoot does the same with any line.
func FuzzBoot(f *testing.F) {
	f.Add(`isolcpus="managed_irq,2-3" nohz-full=2-3`, uint8(4))
	f.Add("nohz_full=1-2 isolcpus=nohz,domain,1-2 isolcpus=3", uint8(6))
	f.Fuzz(func(t *testing.T, line string, kernel uint8) {
		r := max(behaviours[int(kernel)%len(behaviours)], 4009)
		b, err := NewBoot(Spec{CPUs: "2-3"}, booted(t, r, line))
		if err == nil {
			checkBoot(t, r, line, b)
		}
	})
}

// checkBoot boots a release with its line, and with the words proposed put in front,
// behind, and in place of what is there.
func checkBoot(t *testing.T, r release, text string, b *Boot) {
	t.Helper()
	all := set(t, "0-7")
	line, words := arguments(text), arguments(b.Line())
	before := r.isolate(line, all, true)
	kept := slices.DeleteFunc(slices.Clone(line), func(a argument) bool { return len(named(words, a.name)) > 0 })
	tick, isolcpus := b.Words[0].State, b.Words[1]
	if tick == Set && !b.CPUs.IsSubsetOf(before[tickKind]) {
		t.Errorf("%v booted with %q: nohz_full= is called set for %v, and is not in effect", r, text, b.CPUs)
	}
	if isolcpus.State == Set && r >= managedSince && !b.CPUs.IsSubsetOf(before[managedKind]) {
		t.Errorf("%v booted with %q: isolcpus= is called set for %v, and is not in effect", r, text, b.CPUs)
	}
	for _, next := range [][]argument{append(slices.Clone(words), kept...), append(slices.Clone(kept), words...)} {
		after := r.isolate(next, all, true)
		for _, kind := range []kinds{domainKind, tickKind} {
			if lost := before[kind].Intersect(b.CPUs).Minus(after[kind]); !lost.IsEmpty() {
				t.Errorf("%v booted with %q: %q for %v takes it (%d) from CPU %v", r, text, b.Line(), b.CPUs, kind, lost)
			}
		}
		if tick == Changes && !b.CPUs.Minus(bootCPU()).IsSubsetOf(after[tickKind]) {
			t.Errorf("%v booted with %q: %q for %v stops the tick of %v", r, text, b.Line(), b.CPUs, after[tickKind])
		}
		if isolcpus.State == Changes && strings.Contains(isolcpus.Word, "managed_irq") && r >= managedSince && !b.CPUs.IsSubsetOf(after[managedKind]) {
			t.Errorf("%v booted with %q: %q for %v keeps managed interrupts off %v", r, text, b.Line(), b.CPUs, after[managedKind])
		}
		for _, kind := range allKinds { // equal to what was asked, but for what is in effect and has it all
			if extra := after[kind].Minus(b.CPUs).Minus(before[domainKind]).Minus(before[tickKind]).Minus(before[managedKind]); !extra.IsEmpty() && mine(kept) {
				t.Errorf("%v booted with %q: %q for %v isolates CPU %v too", r, text, b.Line(), b.CPUs, extra)
			}
		}
	}
}

// mine reports whether nothing but what was proposed isolates.
func mine(kept []argument) bool {
	return len(named(kept, "isolcpus"))+len(named(kept, "nohz_full")) == 0
}

func randomLine(random *rand.Rand) string {
	words := []string{"quiet"}
	for range random.IntN(4) {
		list := randomList(random)
		word := "nohz_full=" + list
		if random.IntN(2) == 0 {
			word = "isolcpus="
			for _, flag := range []string{"nohz,", "domain,", "managed_irq,", "later,"} {
				if random.IntN(3) == 0 {
					word += flag
				}
			}
			word += list
		}
		switch random.IntN(8) {
		case 0:
			word = strings.Replace(word, "=", `="`, 1) + `"`
		case 1:
			word = `"` + word + `"`
		case 2:
			word = strings.Replace(word, "nohz_full", "nohz-full", 1)
		}
		words = append(words, word)
	}
	if random.IntN(10) == 0 {
		words = slices.Insert(words, random.IntN(len(words)), "--")
	}
	return strings.Join(words, " ")
}

func randomList(random *rand.Rand) string {
	first := random.IntN(8)
	last := first + random.IntN(8-first)
	switch random.IntN(12) {
	case 0:
		return fmt.Sprintf("%d-N", first)
	case 1:
		return fmt.Sprintf("%d-%d:1/2", first, last)
	case 2:
		return "all"
	case 3:
		return fmt.Sprintf("%d,9", first)
	}
	return fmt.Sprintf("%d-%d", first, last)
}
