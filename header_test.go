// SPDX-License-Identifier: Apache-2.0

package taskiso

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// headerFile is one file of a program; those other than main say what they take for
// the thread's page.
const headerFile = `#include <taskiso/taskiso.h>
#ifdef __cplusplus
extern "C"
#endif
int PAGE(void) { return taskiso_isolated() && taskiso_page->entered == 4711; }
`

const headerMain = `#include <taskiso/taskiso.h>
#ifdef __cplusplus
extern "C" {
#endif
int in_file(void);
int in_library(void);
#ifdef __cplusplus
}
#endif
int main(void) {
	struct taskiso_status own;
	memset(&own, 0, sizeof(own));
	own.isolated = 1;
	own.entered = 4711;
	if (taskiso_isolated() || in_file() || in_library() || taskiso_map() != -ENOSYS)
		return 1;
	taskiso_page = &own;
	return in_file() && in_library() ? 0 : 2;
}
`

// A thread has one page, however many files and shared libraries ask for it, in any
// C or C++ of today, whatever is defined.
func TestHeaderHasOnePage(t *testing.T) {
	for _, compiler := range [][]string{
		{"gcc", "-xc", "-std=c99", "-pedantic"}, {"gcc", "-xc", "-std=gnu17"}, {"gcc", "-xc", "-std=c11", "-D_GNU_SOURCE", "-O2"},
		{"g++", "-xc++", "-std=c++17", "-pedantic"}, {"g++", "-xc++", "-std=c++11", "-O2"}, {"gcc", "-xc", "-std=c99", "-fvisibility=hidden"},
		{"clang-16", "-xc", "-std=c99", "-pedantic"}, {"clang-16", "-xc++", "-std=c++17", "-O2"},
	} {
		t.Run(strings.Join(compiler, " "), func(t *testing.T) {
			if _, err := exec.LookPath(compiler[0]); err != nil {
				t.Skip(err)
			}
			dir := t.TempDir()
			compile := func(source, output string, flags ...string) {
				t.Helper()
				file := filepath.Join(dir, output+".source")
				if err := os.WriteFile(file, []byte(source), 0o644); err != nil {
					t.Fatal(err)
				}
				args := append(compiler[1:len(compiler):len(compiler)], "-Wall", "-Wextra", "-Werror", "-Iinclude", "-o", filepath.Join(dir, output), file)
				if out, err := exec.Command(compiler[0], append(args, flags...)...).CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
			}
			compile(strings.Replace(headerFile, "PAGE", "in_file", 1), "file.o", "-c")
			library := strings.Replace(headerFile, "int PAGE", `__attribute__((visibility("default"))) int in_library`, 1)
			compile(library, "liblibrary.so", "-shared", "-fPIC")
			compile(headerMain, "program", "-xnone", filepath.Join(dir, "file.o"), "-L"+dir, "-llibrary", fmt.Sprintf("-Wl,-rpath,%s", dir))
			if out, err := exec.Command(filepath.Join(dir, "program")).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
