// SPDX-License-Identifier: Apache-2.0

// Package specfile reads small TOML files with a fixed set of keys, and reports
// each mistake with its place.
package specfile

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// Error is a mistake in the text of a file.
type Error struct {
	File         string
	Line, Column int // from 1
	Err          error
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %v", e.File, e.Line, e.Column, e.Err)
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// Key is a key that a file may have, and where its value goes: a *string, a *int, a
// *bool or a *[]string.
type Key struct {
	Name  string
	Field any
}

// Read assigns what the text has to the fields of keys. file is its name in
// errors, which are of type [*Error]. Of several mistakes the first one in the text is reported.
func Read(file, text string, keys []Key) error {
	var values map[string]any
	_, err := toml.Decode(text, &values)
	var parse toml.ParseError
	if errors.As(err, &parse) {
		return &Error{file, parse.Position.Line, parse.Position.Col, errors.New(lowered(parse.Message))}
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", file, err)
	}
	for _, name := range inOrder(text, values) {
		i := slices.IndexFunc(keys, func(k Key) bool { return same(k.Name, name) })
		if i < 0 {
			return At(file, text, name, fmt.Errorf("unknown key %q: want one of %s", name, names(keys)))
		}
		if err := assign(keys[i].Field, values[name]); err != nil {
			return At(file, text, name, fmt.Errorf("%s: %w", name, err))
		}
	}
	return nil
}

// same reports whether two names are those of one key. "-" and "_" mean the same: options have the one, and most files
// the other.
func same(a, b string) bool {
	return strings.ReplaceAll(a, "-", "_") == strings.ReplaceAll(b, "-", "_")
}

// Check adds a place in the text to the error of check, which looks at the fields of keys. The place is the first key
// with which, together with the keys before it, check finds a mistake.
func Check(file, text string, keys []Key, check func() error) error {
	values := make([]reflect.Value, len(keys))
	for i, k := range keys {
		field := reflect.ValueOf(k.Field).Elem()
		values[i] = reflect.New(field.Type()).Elem()
		values[i].Set(field)
		field.SetZero()
	}
	var mistake error
	for i, k := range keys {
		reflect.ValueOf(k.Field).Elem().Set(values[i])
		if mistake != nil {
			continue
		}
		if err := check(); err != nil {
			mistake = At(file, text, k.Name, err)
		}
	}
	return mistake
}

// lowered makes a sentence of the parser the rest of one.
func lowered(message string) string {
	message = strings.TrimSuffix(message, ".")
	if message == "" {
		return "not TOML"
	}
	return strings.ToLower(message[:1]) + message[1:]
}

func names(keys []Key) string {
	var list []string
	for _, k := range keys {
		list = append(list, k.Name)
	}
	return strings.Join(list, ", ")
}

func assign(field, value any) error {
	switch field := field.(type) {
	case *string:
		text, ok := value.(string)
		if !ok {
			return fmt.Errorf("is %v, want a string in quotes", value)
		}
		*field = text
	case *int:
		n, ok := value.(int64)
		if !ok || int64(int(n)) != n {
			return fmt.Errorf("is %v, want a number without quotes", value)
		}
		*field = int(n)
	case *bool:
		set, ok := value.(bool)
		if !ok {
			return fmt.Errorf("is %v, want true or false", value)
		}
		*field = set
	case *[]string:
		list, ok := value.([]any)
		if !ok {
			return fmt.Errorf("is %v, want a list of strings", value)
		}
		for _, item := range list {
			text, ok := item.(string)
			if !ok {
				return fmt.Errorf("has %v, want strings only", item)
			}
			*field = append(*field, text)
		}
	}
	return nil
}

// inOrder sorts keys by their place in the text.
func inOrder(text string, values map[string]any) []string {
	var list []string
	offsets := map[string]int{}
	for name := range values {
		list = append(list, name)
		offsets[name] = offset(text, name)
	}
	slices.SortFunc(list, func(a, b string) int {
		return cmp.Or(offsets[a]-offsets[b], strings.Compare(a, b))
	})
	return list
}

// offset finds where a key stands at the top level: the parser does not report it.
func offset(text, key string) int {
	name := `["']?` + strings.NewReplacer("-", "[-_]", "_", "[-_]").Replace(regexp.QuoteMeta(key)) + `["']?`
	place := regexp.MustCompile(`(?m)^[ \t]*(?:\[+[ \t]*)?(` + name + `)[ \t]*[=.\]]`).FindStringSubmatchIndex(text)
	if place == nil {
		return 0
	}
	return place[2]
}

// At returns an error about a mistake at a key.
func At(file, text, key string, err error) error {
	before := text[:offset(text, key)]
	return &Error{file, strings.Count(before, "\n") + 1, len(before) - strings.LastIndex(before, "\n"), err}
}
