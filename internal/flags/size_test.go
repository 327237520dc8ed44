// SPDX-License-Identifier: Apache-2.0

package flags

import "testing"

func TestBufferSize(t *testing.T) {
	for text, want := range map[string]BufferSize{
		"64K": 64 << 10, "4M": 4 << 20, "65536": 65536, "512M": 512 << 20,
		"": 0, "0": 0, "3M": 0, "1K": 0, "1024M": 0, "-4K": 0, "4k": 0, "99999999999999999999M": 0, "1073741823M": 0, "M": 0,
	} {
		var s BufferSize
		if err := s.Set(text); (err == nil) != (want != 0) || s != want {
			t.Errorf("%q: got %d and error %v, want %d", text, s, err, want)
		}
	}
}
