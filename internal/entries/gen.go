// SPDX-License-Identifier: Apache-2.0

//go:build ignore

// gen writes docs/entries.md from the table.
package main

import (
	"bytes"
	"log"
	"os"

	"github.com/taskiso/taskiso/internal/entries"
)

func main() {
	var b bytes.Buffer
	if err := entries.WriteMarkdown(&b); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile("../../docs/entries.md", b.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}
