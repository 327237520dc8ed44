// SPDX-License-Identifier: Apache-2.0

package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"testing"
	"testing/fstest"
)

func TestCheckNumbers(t *testing.T) {
	if err := CheckNumbers(os.DirFS("/")); err != nil {
		t.Error(err)
	}
	of := func(number string) fs.FS {
		return fstest.MapFS{"proc/self": {Data: []byte(number), Mode: fs.ModeSymlink}}
	}
	if err := CheckNumbers(of(strconv.Itoa(os.Getpid()))); err != nil {
		t.Error(err)
	}
	want := fmt.Sprintf("/proc is that of another PID namespace, in which this process is 1, not %d: mount it anew (mount -t proc proc /proc, or unshare --mount-proc)", os.Getpid())
	if err := CheckNumbers(of("1")); !errors.Is(err, errors.ErrUnsupported) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := CheckNumbers(fstest.MapFS{}); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("without /proc: got %v", err)
	}
}
