// SPDX-License-Identifier: Apache-2.0

package vmtest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/taskiso/taskiso/internal/vmtest/initramfs"
)

const systemd = "/usr/lib/systemd/systemd"

// systemdParameters make the tests all that systemd starts.
const systemdParameters = "systemd.unit=vmtest.service systemd.show_status=no systemd.log_target=console"

const testService = `[Unit]
DefaultDependencies=no

[Service]
ExecStart=/init
Environment=` + serviceVariable + `=1
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
`

// packService makes the tests a service of systemd.
func packService(w *initramfs.Writer) error {
	return w.File("etc/systemd/system/vmtest.service", 0o644, int64(len(testService)), strings.NewReader(testService))
}

// packDaemons adds systemd and irqbalance with their libraries, unpacked below root.
func packDaemons(ctx context.Context, w *initramfs.Writer, root string) error {
	if root == "" {
		return errors.New("no systemd and irqbalance in the cache; run vmsetup again")
	}
	for _, dir := range []string{"usr", "lib", "bin"} { // the latter are in /usr since Debian 13
		guest := "/usr"
		if dir != "usr" {
			guest = "/usr/" + dir
		}
		err := w.HostFile(ctx, guest, filepath.Join(root, dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	// All directories that a loader is looked for in are one in the guest.
	const loader = "ld-linux-x86-64.so.2"
	for _, dir := range []string{"usr/lib", "lib"} {
		path := filepath.Join(root, dir, "x86_64-linux-gnu", loader)
		if _, err := os.Stat(path); err == nil {
			return w.HostFile(ctx, "/usr/lib/"+loader, path)
		}
	}
	return errors.New("no " + loader + " in " + root)
}
