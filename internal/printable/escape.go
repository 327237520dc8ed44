// SPDX-License-Identifier: Apache-2.0

package printable

import "reflect"

// Escape escapes, as [Text] does, each text in what v points to: in exported fields, slices, arrays, and maps, whose keys
// it leaves as they are.
func Escape(v any) { escape(reflect.ValueOf(v)) }

func escape(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if v.CanSet() {
			v.SetString(Text(v.String()))
		}
	case reflect.Pointer:
		escape(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			escape(v.Field(i))
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			escape(v.Index(i))
		}
	case reflect.Map:
		escapeMap(v)
	}
}

// escapeMap replaces the values, which cannot be changed where they are.
func escapeMap(m reflect.Value) {
	if !m.CanInterface() { // of a field that is not exported
		return
	}
	for _, key := range m.MapKeys() {
		value := reflect.New(m.Type().Elem()).Elem()
		value.Set(m.MapIndex(key))
		escape(value)
		m.SetMapIndex(key, value)
	}
}
