// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/vmtest"
)

func TestMain(m *testing.M) { vmtest.Main(m) }

func TestVM(t *testing.T) {
	vmtest.Run(t, vmtest.Config{Cmdline: "nohz_full=2,3", Timeout: 3 * time.Minute})
}
