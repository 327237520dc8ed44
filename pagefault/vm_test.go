// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/vmtest"
)

// TestVM runs the tests of this package on all kernels, and with them those that
// need a machine of their own. Left out are the tests that need a compiler, a
// filesystem on a disk, or a limit that root in a guest has not.
func TestVM(t *testing.T) {
	files := map[string]string{compiled: compile(t, "watch", "-O2", "-static"), remote: compile(t, "remote", "-O2", "-static")}
	for path, module := range diskModules(t) {
		files[path] = module
	}
	vmtest.Run(t, vmtest.Config{
		Tests:   `^Test(Guest|First|Agrees|KernelMode|FileMapping|Copy|Huge|Ranges|Once|Max|Pause|Major|Dur|Stack|ThreadsCreatedLater|Lost|Mapp|Marks|Count|Unpriv|Notify|PrefaultMem|NoSuch|FileLimit|Userfaultfd)`,
		Files:   files,
		Nodes:   2,
		Cmdline: "numa_balancing=disable", // until a test wants it: it makes faults
		Timeout: 4 * time.Minute,
	})
}

// modulesDir has a directory for each kernel with the modules that a disk in
// memory needs. The cache of vmtest has them packed or not.
const modulesDir = "/modules"

func diskModules(t *testing.T) map[string]string {
	t.Helper()
	cache := os.Getenv("TASKISO_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(user, "taskiso")
	}
	modules := make(map[string]string)
	for _, pattern := range []string{"kernel/*/lib/modules/*", "kernel/*/usr/lib/modules/*"} {
		found, err := filepath.Glob(filepath.Join(cache, pattern, "kernel/drivers/block/brd.ko*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			_, release, _ := strings.Cut(path, "/modules/")
			release, _, _ = strings.Cut(release, "/")
			modules[filepath.Join(modulesDir, release, "brd.ko")] = unpacked(t, path)
		}
	}
	return modules
}

// unpacked returns path, or what xz makes of it.
func unpacked(t *testing.T, path string) string {
	t.Helper()
	if !strings.HasSuffix(path, ".xz") {
		return path
	}
	module, err := exec.Command("xz", "-dc", path).Output()
	if err != nil {
		t.Fatalf("unpacking %s: %v", path, err)
	}
	plain := filepath.Join(t.TempDir(), strings.TrimSuffix(filepath.Base(path), ".xz"))
	if err := os.WriteFile(plain, module, 0o600); err != nil {
		t.Fatal(err)
	}
	return plain
}
