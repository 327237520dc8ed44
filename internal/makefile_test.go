// SPDX-License-Identifier: Apache-2.0

package internal_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each target has a comment behind it, which "make help" lists.
func TestMakeHelp(t *testing.T) {
	for _, name := range []string{"Makefile", "model/model.mk"} {
		text, err := os.ReadFile(filepath.Join(moduleRoot(t), name))
		if err != nil {
			t.Fatal(err)
		}
		phony := regexp.MustCompile(`(?m)^\.PHONY: (.*)$`).FindSubmatch(text)
		if phony == nil {
			t.Fatalf("%s names no targets", name)
		}
		for _, target := range strings.Fields(string(phony[1])) {
			listed := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(target) + `:.* ## \S`)
			if target != "all" && !listed.Match(text) {
				t.Errorf("%s: target %s has no line in make help: write \"## ...\" behind it", name, target)
			}
		}
	}
}
