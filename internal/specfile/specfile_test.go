// SPDX-License-Identifier: Apache-2.0

package specfile

import (
	"errors"
	"testing"
)

func TestMistakesHaveAPlace(t *testing.T) {
	var s string
	var b bool
	var n int
	var list []string
	keys := []Key{{"text", &s}, {"yes", &b}, {"list", &list}, {"n", &n}}
	if err := Read("f", "text = \"a\"\nyes = true\nlist = [\"x\", \"y\"]\n", keys); err != nil || s != "a" || !b || len(list) != 2 {
		t.Errorf("got %q, %v, %q, %v", s, b, list, err)
	}
	for text, want := range map[string]string{
		"text = 3":            "f:1:1: text: is 3, want a string in quotes",
		"\n  yes = 1":         "f:2:3: yes: is 1, want true or false",
		"list = \"a\"":        "f:1:1: list: is a, want a list of strings",
		"n = \"1\"":           "f:1:1: n: is 1, want a number without quotes",
		"list = [1]":          "f:1:1: list: has 1, want strings only",
		"yes = true\nno = 1":  "f:2:1: unknown key \"no\": want one of text, yes, list, n",
		"b = 1\na = 1":        "f:1:1: unknown key \"b\": want one of text, yes, list, n",
		"text = \"a\"\nyes =": "f:2:5: unexpected EOF; expected value",
	} {
		err := Read("f", text, keys)
		var at *Error
		if !errors.As(err, &at) || err.Error() != want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func TestWrongValuesHaveAPlace(t *testing.T) {
	var a, b, c string
	keys := []Key{{"a", &a}, {"b", &b}, {"c", &c}}
	text := "c = \"3\"\n  b = \"2\"\na = \"1\"\n"
	if err := Read("f", text, keys); err != nil {
		t.Fatal(err)
	}
	for want, wrong := range map[string]func() bool{
		"f:3:1: wrong": func() bool { return a == "1" },
		"f:2:3: wrong": func() bool { return a == "1" && b == "2" },
		"f:1:1: wrong": func() bool { return c == "3" },
	} {
		err := Check("f", text, keys, func() error {
			if wrong() {
				return errors.New("wrong")
			}
			return nil
		})
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if a != "1" || b != "2" || c != "3" {
			t.Errorf("values are %q, %q, %q after", a, b, c)
		}
	}
	if err := Check("f", text, keys, func() error { return nil }); err != nil {
		t.Error(err)
	}
}

// Options are spelt with "-" and most files with "_": either is the key.
func TestKeysInEitherSpelling(t *testing.T) {
	for _, text := range []string{"max-wait = \"1s\"\ncache_ways = 3\n", "max_wait = \"1s\"\ncache-ways = 3\n"} {
		var wait string
		var ways int
		keys := []Key{{"max-wait", &wait}, {"cache_ways", &ways}}
		if err := Read("f", text, keys); err != nil || wait != "1s" || ways != 3 {
			t.Errorf("%q: %q, %d, %v", text, wait, ways, err)
		}
		err := Check("f", text, keys, func() error {
			if ways == 3 {
				return errors.New("too many")
			}
			return nil
		})
		if err == nil || err.Error() != "f:2:1: too many" {
			t.Errorf("%q: error %v, want one at its second line", text, err)
		}
	}
}
