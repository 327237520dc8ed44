// SPDX-License-Identifier: Apache-2.0

package entries

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func load(t *testing.T, arch string) *Table {
	t.Helper()
	table, err := Load(arch)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestTableIsComplete(t *testing.T) {
	for _, arch := range architectures {
		table := load(t, arch.name)
		seen := make(map[string]bool)
		for _, e := range table.entries {
			key := e.Symbol + " " + e.Part
			if seen[key] {
				t.Errorf("%s: %s is there twice", arch.name, key)
			}
			seen[key] = true
			if !table.pattern.MatchString(e.Symbol) {
				t.Errorf("%s: the pattern does not match %s: it would not be found in a kernel", arch.name, e.Symbol)
			}
			if e.What == "" || len(e.Sources) == 0 {
				t.Errorf("%s: %s does not say what it is or has no source", arch.name, key)
			}
			if len(e.Events) == 0 && e.Why == "" {
				t.Errorf("%s: %s has no event and does not say why", arch.name, key)
			}
			if e.Inside && e.Tracked {
				t.Errorf("%s: %s begins no stay, but context tracking is to report it", arch.name, key)
			}
		}
	}
}

func TestLoadErrors(t *testing.T) {
	if _, err := Load("m68k"); !errors.Is(err, ErrArchitecture) {
		t.Errorf("got error %v, want ErrArchitecture", err)
	}
	for _, text := range []string{"[[entry]", "[patterns]\namd64 = '('", "[[entry]]\nsymbl = \"x\"\n[patterns]\namd64 = 'x'"} {
		if _, err := parse(text, "amd64"); err == nil || !strings.Contains(err.Error(), "reading the table of entries") {
			t.Errorf("%q: got error %v", text, err)
		}
	}
}

const kallsyms = `0000000000000000 T asm_exc_page_fault
0000000000000000 T asm_exc_divide_error
0000000000000000 T asm_exc_machine_check
0000000000000000 T asm_exc_double_fault
0000000000000000 T asm_exc_brand_new
0000000000000000 T asm_sysvec_hyperv_stimer0
0000000000000000 T asm_fred_entrypoint_kernel
0000000000000000 T asm_sysvec_reboot
0000000000000000 T asm_load_gs_index
0000000000000000 T fred_sysvec_reboot
0000000000000000 t asm_sysvec_irq_work	[module]
`

func fakeFiles(nohz string) fstest.MapFS {
	files := fstest.MapFS{
		"proc/kallsyms":   {Data: []byte(kallsyms)},
		"proc/interrupts": {Data: []byte("           CPU0       CPU1\nMCE:          0          0   Machine check exceptions\nHVS:          1          2   Hyper-V stimer0 interrupts\n")},
	}
	if nohz != "" {
		files["sys/devices/system/cpu/nohz_full"] = &fstest.MapFile{Data: []byte(nohz + "\n")}
	}
	return files
}

func hasAll(string) bool { return true }

func TestPoints(t *testing.T) {
	for _, tc := range []struct {
		name  string
		nohz  string
		event func(string) bool
		want  map[string]Seen
	}{
		{"tracked", "1", hasAll, map[string]Seen{
			"asm_exc_page_fault": ByEvent, "asm_exc_divide_error": ByCatchAll, "asm_exc_machine_check": ByCatchAll, "asm_exc_double_fault": Blind,
			"asm_sysvec_hyperv_stimer0": ByCatchAll, "asm_sysvec_reboot": ByCatchAll, "asm_fred_entrypoint_kernel": Inside,
		}},
		{"no nohz_full", "", hasAll, map[string]Seen{
			"asm_exc_page_fault": ByEvent, "asm_exc_divide_error": Blind, "asm_exc_machine_check": ByInterrupts, "asm_exc_double_fault": Blind,
			"asm_sysvec_hyperv_stimer0": ByInterrupts, "asm_sysvec_reboot": Blind, "asm_fred_entrypoint_kernel": Inside,
		}},
		{"no CPU is nohz_full", "(null)", hasAll, map[string]Seen{
			"asm_exc_page_fault": ByEvent, "asm_exc_divide_error": Blind, "asm_exc_machine_check": ByInterrupts, "asm_exc_double_fault": Blind,
			"asm_sysvec_hyperv_stimer0": ByInterrupts, "asm_sysvec_reboot": Blind, "asm_fred_entrypoint_kernel": Inside,
		}},
		{"no tracepoints", "1", func(string) bool { return false }, map[string]Seen{
			"asm_exc_page_fault": Blind, "asm_exc_divide_error": Blind, "asm_exc_machine_check": ByInterrupts, "asm_exc_double_fault": Blind,
			"asm_sysvec_hyperv_stimer0": ByInterrupts, "asm_sysvec_reboot": Blind, "asm_fred_entrypoint_kernel": Inside,
		}},
	} {
		k, err := Read(fakeFiles(tc.nohz), tc.event)
		if err != nil {
			t.Fatal(err)
		}
		points, unknown := load(t, "amd64").On(k)
		got := make(map[string]Seen)
		for _, p := range points {
			got[p.Symbol] = p.Seen
		}
		if !maps.Equal(got, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.want)
		}
		if !slices.Equal(unknown, []string{"asm_exc_brand_new"}) {
			t.Errorf("%s: got unknown entries %q", tc.name, unknown)
		}
		blind := 0
		for _, s := range tc.want {
			if s == Blind {
				blind++
			}
		}
		if n := Count(points, Blind); n != blind {
			t.Errorf("%s: counted %d blind ones, want %d", tc.name, n, blind)
		}
	}
}

func TestReadErrors(t *testing.T) {
	for name, change := range map[string]func(fstest.MapFS){
		"no kallsyms":   func(f fstest.MapFS) { delete(f, "proc/kallsyms") },
		"other form":    func(f fstest.MapFS) { f["proc/kallsyms"] = &fstest.MapFile{Data: []byte("x y\n")} },
		"no interrupts": func(f fstest.MapFS) { delete(f, "proc/interrupts") },
		"CPU list":      func(f fstest.MapFS) { f["sys/devices/system/cpu/nohz_full"] = &fstest.MapFile{Data: []byte("x\n")} },
	} {
		files := fakeFiles("1")
		change(files)
		if _, err := Read(files, hasAll); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestDocumentIsUpToDate(t *testing.T) {
	want, err := os.ReadFile("../../docs/entries.md")
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := WriteMarkdown(&got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Error("docs/entries.md is not what the table gives: run go generate ./internal/entries")
	}
}
