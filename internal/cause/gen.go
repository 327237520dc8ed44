// SPDX-License-Identifier: Apache-2.0

//go:build ignore

// gen writes docs/causes.md from the catalogue.
package main

import (
	"bytes"
	"log"
	"os"

	"github.com/taskiso/taskiso/internal/cause"
)

func main() {
	catalogue, err := cause.Load()
	if err != nil {
		log.Fatal(err)
	}
	var b bytes.Buffer
	if err := catalogue.WriteMarkdown(&b); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile("../../docs/causes.md", b.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}
