// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"os"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/vmtest"
)

func TestMain(m *testing.M) {
	if what := os.Getenv(childVariable); what != "" {
		beChild(what)
		return
	}
	if os.Getenv(sleepVariable) != "" {
		time.Sleep(time.Hour)
	}
	vmtest.Main(m)
}

func TestVM(t *testing.T) {
	vmtest.Run(t, vmtest.Config{Cmdline: "nohz_full=2,3", Timeout: 5 * time.Minute})
}
