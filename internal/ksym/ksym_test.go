// SPDX-License-Identifier: Apache-2.0

package ksym

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
)

const symbols = `ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81000100 t do_sync_core
ffffffff81000180 D some_data
ffffffff81000200 T flush_tlb_func
ffffffffc0000000 t veth_xmit	[veth]
ffffffffbf000000 t early_module	[early]
`

func TestLookup(t *testing.T) {
	table, err := Load(strings.NewReader(symbols))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		addr   uint64
		name   string
		offset uint64
		ok     bool
	}{
		{0xffffffff80ffffff, "", 0, false},
		{0xffffffff81000000, "_stext", 0, true},
		{0xffffffff81000100, "do_sync_core", 0, true},
		{0xffffffff81000190, "do_sync_core", 0x90, true},
		{0xffffffff81000200, "flush_tlb_func", 0, true},
		{0xffffffffbf000010, "early_module", 0x10, true},
		{0xffffffffc0000001, "veth_xmit", 1, true},
		{0xffffffff81100201, "", 0, false}, // too far behind flush_tlb_func
	} {
		name, offset, ok := table.Lookup(test.addr)
		if name != test.name || offset != test.offset || ok != test.ok {
			t.Errorf("%#x: got %q+%#x, %v, want %q+%#x, %v", test.addr, name, offset, ok, test.name, test.offset, test.ok)
		}
	}
}

func TestNameWithoutTable(t *testing.T) {
	if got := (*Table)(nil).Name(0xffff1234); got != "0xffff1234" {
		t.Errorf("got %q", got)
	}
}

func TestLoadHidden(t *testing.T) {
	_, err := Load(strings.NewReader("0000000000000000 T _text\n0000000000000000 t do_sync_core\n"))
	if !errors.Is(err, ErrRestricted) {
		t.Errorf("got %v, want ErrRestricted", err)
	}
}

func TestMalformedLines(t *testing.T) {
	for _, line := range []string{"", " T x", "zz T x", "0 T", "0 T ", "0 TT x", "0T x", "0 T \t[veth]", "12345678901234567 T x", "0x1 T x"} {
		if _, err := Load(strings.NewReader(symbols + line + "\n" + symbols)); err == nil || !strings.Contains(err.Error(), strconv.Quote(line)) {
			t.Errorf("%q: got error %v, want one that quotes the line", line, err)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	text, err := os.ReadFile("/proc/kallsyms")
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load(bytes.NewReader(text)); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(symbols)
	f.Add("0 T\n")
	f.Add("zz T x\n")
	f.Fuzz(func(t *testing.T, text string) {
		table, err := Load(strings.NewReader(text))
		if (err == nil) != (table != nil) {
			t.Fatalf("table %v with error %v", table, err)
		}
		if table != nil {
			table.Name(0)
			table.Name(1 << 63)
			table.Name(^uint64(0))
		}
	})
}

func TestAddress(t *testing.T) {
	table, err := Load(strings.NewReader(symbols))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]uint64{"do_sync_core": 0xffffffff81000100, "veth_xmit": 0xffffffffc0000000, "some_data": 0, "do_sync": 0} {
		if got := table.Address(name); got != want {
			t.Errorf("%s is at %#x, want %#x", name, got, want)
		}
	}
}
