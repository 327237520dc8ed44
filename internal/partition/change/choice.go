// SPDX-License-Identifier: Apache-2.0

package change

import "strings"

// Choice is a file that shows all it can hold, and what it holds in brackets: "always [madvise] never".
type Choice struct{ Text }

// MarshalText returns the name in journals.
func (Choice) MarshalText() ([]byte, error) { return []byte("choice"), nil }

func (Choice) value(text string) string {
	for _, word := range strings.Fields(text) {
		if strings.HasPrefix(word, "[") && strings.HasSuffix(word, "]") {
			return strings.Trim(word, "[]")
		}
	}
	return strings.TrimSpace(text)
}

func (k Choice) same(text, value string) bool { return k.value(text) == k.value(value) }
