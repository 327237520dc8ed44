// SPDX-License-Identifier: Apache-2.0

package display

import (
	"strings"
	"testing"
)

func TestJSON(t *testing.T) {
	var b strings.Builder
	if err := JSON(&b, map[string]string{"a": "x->y & <z>"}); err != nil || b.String() != "{\n  \"a\": \"x->y & <z>\"\n}\n" {
		t.Errorf("got %q, %v", b.String(), err)
	}
	if err := JSON(&b, func() {}); err == nil {
		t.Error("a function has no JSON")
	}
}
