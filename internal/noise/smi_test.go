// SPDX-License-Identifier: Apache-2.0

package noise

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
)

func TestSMIsWhereThereIsNoCounter(t *testing.T) {
	cpus, err := cpulist.New(0)
	if err != nil {
		t.Fatal(err)
	}
	const pmu = "sys/bus/event_source/devices/msr/"
	for want, files := range map[string]fstest.MapFS{
		"no counter":       {pmu + "type": {Data: []byte("9\n")}},
		"devices/msr/type": {pmu + "events/smi": {Data: []byte("event=0x04\n")}},
		"parsing":          {pmu + "events/smi": {Data: []byte("what=0x04\n")}, pmu + "type": {Data: []byte("9\n")}},
	} {
		if s, err := OpenSMIs(files, cpus); err == nil || s != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, %v; want %q", s, err, want)
		}
	}
}

// Few machines count SMIs. The TSC is an event of the same kind that all have.
func TestMSRsAreCounted(t *testing.T) {
	cpus, err := cpulist.New(lastCPU(t))
	if err != nil {
		t.Fatal(err)
	}
	s, err := openMSR(os.DirFS("/"), "tsc", cpus)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, fs.ErrNotExist) || err != nil && strings.Contains(err.Error(), "no counter") {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	from, err := s.Read(lastCPU(t))
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Millisecond)
	if to, err := s.Read(lastCPU(t)); err != nil || to <= from {
		t.Errorf("from %d to %d, %v", from, to, err)
	}
}
