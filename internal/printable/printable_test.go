// SPDX-License-Identifier: Apache-2.0

package printable

import (
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "",
		"kworker/u8:2-events":     "kworker/u8:2-events",
		"müller (日本) – ✓":         "müller (日本) – ✓",
		"a\nCPU 3: quiet":         `a\nCPU 3: quiet`,
		"\x1b[2J\x1b[Hall quiet":  `\x1b[2J\x1b[Hall quiet`,
		"\u009b31m":               `\u009b31m`, // the one-character form of the same
		"ab\xff\xc3":              `ab\xff\xc3`,
		"\u202egnp.exe":           `\u202egnp.exe`, // right to left
		"tab\there\x7f\x00\u200b": `tab\there\x7f\x00\u200b`,
		"\ufffd":                  "\ufffd",
	} {
		if got := Text(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("\x1b]0;title\x07")
	f.Fuzz(func(t *testing.T, s string) {
		got := Text(s)
		if !utf8.ValidString(got) || strings.IndexFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
			t.Errorf("%q became %q, which is not fit to be shown", s, got)
		}
		if Text(got) != got {
			t.Errorf("%q is escaped twice", s)
		}
	})
}

func ExampleText() {
	fmt.Println(Text("ok\r\x1b[1A"))
	// Output: ok\r\x1b[1A
}

func TestEscape(t *testing.T) {
	type inner struct{ Name string }
	type outer struct {
		inner
		Text  string
		List  []inner
		Names map[string]inner
		To    *inner
		None  *inner
		N     int
		own   string
		kept  map[string]string
	}
	bad := inner{"a\x1b"}
	v := outer{inner: bad, Text: "b\n", List: []inner{bad}, Names: map[string]inner{"x": bad}, To: &bad, own: "c\n", kept: map[string]string{"y": "d\n"}}
	Escape(&v)
	const want = `{inner:{Name:a\x1b} Text:b\n List:[{Name:a\x1b}] Names:map[x:{Name:a\x1b}]`
	if got := fmt.Sprintf("%+v", v); !strings.HasPrefix(got, want) || v.To.Name != `a\x1b` || v.own != "c\n" || v.kept["y"] != "d\n" {
		t.Errorf("got %s", got)
	}
}
