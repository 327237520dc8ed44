// SPDX-License-Identifier: Apache-2.0

package noise

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func TestChooseCounter(t *testing.T) {
	if cpuCounter != TSC {
		t.Skip("the TSC is amd64's")
	}
	for name, tc := range map[string]struct {
		flags, current, available string
		want                      Counter
		err                       error
	}{
		"trusted":                          {"constant_tsc nonstop_tsc", "tsc", "tsc acpi_pm", TSC, nil},
		"trusted, not used":                {"constant_tsc nonstop_tsc", "kvm-clock", "kvm-clock tsc", TSC, nil},
		"trusted, but the clock is not it": {"constant_tsc nonstop_tsc", "hpet", "tsc hpet", "", errNoClock},
		"stops":                            {"constant_tsc", "kvm-clock", "kvm-clock tsc", Clock, nil},
		"changes its rate":                 {"nonstop_tsc", "kvm-clock", "kvm-clock", Clock, nil},
		"unstable, no other in vDSO":       {"constant_tsc nonstop_tsc", "hpet", "hpet acpi_pm", "", errNoClock},
		"unstable, another in vDSO":        {"constant_tsc nonstop_tsc", "hyperv_clocksource_tsc_page", "hyperv_clocksource_tsc_page", Clock, nil},
		"stops, but is the clock":          {"constant_tsc", "tsc", "tsc", TSC, nil},
		"no promise, but is the clock":     {"", "tsc", "tsc hpet acpi_pm", TSC, nil},
	} {
		t.Run(name, func(t *testing.T) {
			const dir = "sys/devices/system/clocksource/clocksource0/"
			files := fstest.MapFS{
				"proc/cpuinfo":                {Data: []byte("processor\t: 0\nflags\t\t: fpu " + tc.flags + " lm\n\nprocessor\t: 1\n")},
				dir + "current_clocksource":   {Data: []byte(tc.current + "\n")},
				dir + "available_clocksource": {Data: []byte(tc.available + " \n")},
			}
			c, why, err := ChooseCounter(files)
			promised := tc.flags == "constant_tsc nonstop_tsc" && slices.Contains(strings.Fields(tc.available), "tsc")
			if c != tc.want || !errors.Is(err, tc.err) || err == nil && (why == "") != promised {
				t.Errorf("got %q because %q, %v; want %q, %v", c, why, err, tc.want, tc.err)
			}
		})
	}
	if _, _, err := ChooseCounter(fstest.MapFS{}); err == nil {
		t.Error("no error without a kernel to ask")
	}
}
