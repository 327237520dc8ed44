// SPDX-License-Identifier: Apache-2.0

package cause

import (
	"bytes"
	"os"
	"testing"
)

func TestDocumentIsUpToDate(t *testing.T) {
	want, err := os.ReadFile("../../docs/causes.md")
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := load(t).WriteMarkdown(&got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Error("docs/causes.md is not what the catalogue gives: run go generate ./internal/cause")
	}
}
