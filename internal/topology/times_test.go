// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"errors"
	"io/fs"
	"os"
	"testing"
	"testing/fstest"
	"time"
)

const ms = time.Millisecond

func TestTimes(t *testing.T) {
	times, err := parseTimes(`cpu  9 9 9 9 9 9 9 9 9 9
cpu0 1 2 3 4 5 6 7 8 9 10
cpu130 100 0 0 0 0 0 0 1 0 0 77
intr 5 cpu1
cpufreq 1
`)
	if err != nil {
		t.Fatal(err)
	}
	want := CPUTimes{10 * ms, 20 * ms, 30 * ms, 40 * ms, 50 * ms, 60 * ms, 70 * ms, 80 * ms, 90 * ms, 100 * ms}
	if times[0] != want {
		t.Errorf("CPU 0: got %+v, want %+v", times[0], want)
	}
	if want := (CPUTimes{User: time.Second, Steal: 10 * ms}); times[130] != want {
		t.Errorf("CPU 130: got %+v, want %+v", times[130], want)
	}
	if len(times) != 2 {
		t.Errorf("%d CPUs, want 2", len(times))
	}
}

func TestTimesSub(t *testing.T) {
	after := CPUTimes{User: 50 * ms, Steal: 30 * ms, GuestNice: 7 * ms}
	before := CPUTimes{User: 20 * ms, Steal: 30 * ms, GuestNice: 2 * ms, IOWait: 10 * ms}
	if got, want := after.Sub(before), (CPUTimes{User: 30 * ms, GuestNice: 5 * ms, IOWait: -10 * ms}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if after.User != 50*ms || before.User != 20*ms {
		t.Error("Sub changed its operands")
	}
}

func TestTimesErrors(t *testing.T) {
	for name, text := range map[string]string{
		"empty":       "",
		"only sum":    "cpu 1 2 3 4 5 6 7 8 9 10\n",
		"too short":   "cpu0 1 2 3 4 5 6 7 8 9\n",
		"not numbers": "cpu0 1 2 3 4 5 6 7 8 9 x\n",
		"negative":    "cpu0 1 2 3 4 5 6 7 8 9 -1\n",
		"overflow":    "cpu0 1 2 3 4 5 6 7 8 9 922337203686\n",
		"CPU 8192":    "cpu8192 1 2 3 4 5 6 7 8 9 10\n",
	} {
		if times, err := parseTimes(text); !errors.Is(err, ErrFormat) || times != nil {
			t.Errorf("%s: got %v, %v, want ErrFormat", name, times, err)
		}
	}
	if _, err := Times(fstest.MapFS{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want fs.ErrNotExist", err)
	}
}

func TestTimesHere(t *testing.T) {
	for _, root := range []string{"/", "testdata/vm-2cpu"} {
		times, err := Times(os.DirFS(root))
		if err != nil {
			t.Fatal(err)
		}
		if times[0].User+times[0].System+times[0].Idle == 0 {
			t.Errorf("%s: CPU 0 has spent no time: %+v", root, times[0])
		}
	}
}

func FuzzParseTimes(f *testing.F) {
	f.Add("cpu0 1 2 3 4 5 6 7 8 9 10\n")
	f.Add("cpu  1\ncpu3 1 2 3 4 5 6 7 8 9 922337203685 1\nintr 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		times, err := parseTimes(text)
		if (err != nil) != (times == nil) {
			t.Fatalf("got %v together with %v", times, err)
		}
		for cpu, spent := range times {
			for _, field := range spent.fields() {
				if *field < 0 {
					t.Fatalf("CPU %d has spent %v", cpu, *field)
				}
			}
		}
	})
}
