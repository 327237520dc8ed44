// SPDX-License-Identifier: Apache-2.0

package gaps

import (
	"slices"
	"testing"
	"time"
)

// What rtla 6.1 wrote on Linux 6.12, shortened.
const osnoiseText = `# RTLA osnoise histogram
# Time unit is microseconds (us)
# Duration:   0 00:00:04
Index   CPU-003
1       2045961 
5            18 
9          1731 
20           58 
600           2 
over:        20 
count:  2063837 
min:          1 
avg:          1 
max:       6874 
`

func TestParseOsnoise(t *testing.T) {
	m, err := parseOsnoise(osnoiseText, 4*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	want := []float64{18 + 1731 + 58 + 22, 80, 80, 22, 22, 22, 22} // of 5, 10, 20, 50, 100, 200, 500 µs or more
	if !slices.Equal(m.reach, want) || m.longest != 6874 || m.seconds != 4 {
		t.Errorf("got %+v, want %v", m, want)
	}
	if _, err := parseOsnoise("rtla: no\n", time.Second); err == nil {
		t.Error("no error without a histogram")
	}
}

func TestParseHwlatdetect(t *testing.T) {
	for text, want := range map[string]float64{
		"test finished\nMax Latency: 2739us\nSamples recorded: 5\n": 2739,
		"Max Latency: Below threshold\nSamples recorded: 0\n":       0,
	} {
		if m, err := parseHwlatdetect(text, time.Second); err != nil || m.longest != want || m.reach != nil {
			t.Errorf("%q: got %+v, %v", text, m, err)
		}
	}
	if _, err := parseHwlatdetect("no tracer", time.Second); err == nil {
		t.Error("no error without a result")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(osnoiseText)
	f.Add("Max Latency: 2739us\n")
	f.Fuzz(func(t *testing.T, text string) {
		parse := []func(string, time.Duration) (measured, error){parseOsnoise, parseHwlatdetect}
		for _, p := range parse {
			if m, err := p(text, time.Second); err == nil && m.seconds != 1 {
				t.Errorf("%q: got %+v", text, m)
			}
		}
	})
}
