// SPDX-License-Identifier: Apache-2.0

package deferral

import (
	"fmt"
	"reflect"
)

// checkPlain accepts types that mean the same in another address space.
func checkPlain[T any](most int) error {
	t := reflect.TypeFor[T]()
	if !plain(t) {
		return fmt.Errorf("type %v contains pointers; use fixed-size numbers, arrays and structs of them", t)
	}
	if t.Size() == 0 || int(t.Size()) > most {
		return fmt.Errorf("%w: type %v has %d bytes, the domain allows 1 to %d", ErrTooLarge, t, t.Size(), most)
	}
	return nil
}

func plain(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64,
		reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		return true
	case reflect.Array:
		return plain(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if !plain(t.Field(i).Type) {
				return false
			}
		}
		return true
	}
	return false
}
