// SPDX-License-Identifier: Apache-2.0

package internal_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHostTestsChangeNothing: no test that may run on a host opens the files of
// the kernel to change them. Those of guests do, in files named _guest_test.go,
// which package vmtest runs nowhere else; kernfs tests it with directories.
func TestHostTestsChangeNothing(t *testing.T) {
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, "_guest_test.go") ||
			strings.HasPrefix(path, "../internal/kernfs/") || strings.HasSuffix(path, "/writable_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if strings.Contains(string(text), "kernfs.OpenWritable") {
			t.Errorf("%s opens files to change them", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
