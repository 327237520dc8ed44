// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"reflect"
	"testing"
)

func TestParseSpec(t *testing.T) {
	got, err := ParseSpec("spec.toml", `
# for the packet processor
name = "dpdk"
cpus = "2-3"
housekeeping = "0"
profile = "throughput"
partition = "root"
cycle = true
siblings = "offline"
skip = ["thp", "ksm"]
require = ["cpuset"]
`)
	want := Spec{"dpdk", "2-3", "0", "throughput", "root", true, "offline", []string{"thp", "ksm"}, []string{"cpuset"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestParseSpecErrors(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"cycle = 1\n", `spec.toml:1:1: cycle: is 1, want true or false`},
		{"cpus = \"2-3\"\n  color = 1\n", `spec.toml:2:3: unknown key "color": want one of name, cpus, housekeeping, profile, partition, cycle, siblings, skip, require`},
		{"cpus = 3\n", `spec.toml:1:1: cpus: is 3, want a string in quotes`},
		{"\ncpus = \"1\"\nskip = \"thp\"\n", `spec.toml:3:1: skip: is thp, want a list of strings`},
		{"skip = [\"thp\", 1]\n", `spec.toml:1:1: skip: has 1, want strings only`},
		{"# b = 1\n[irq]\nx = 1\n", `spec.toml:2:2: unknown key "irq": want one of name, cpus, housekeeping, profile, partition, cycle, siblings, skip, require`},
		{"b = 1\na = 1\n", `spec.toml:1:1: unknown key "b": want one of name, cpus, housekeeping, profile, partition, cycle, siblings, skip, require`},
		{"cpus = \"1\ncpu\n", `spec.toml:1:10: strings cannot contain newlines`},
	} {
		_, err := ParseSpec("spec.toml", test.text)
		if err == nil || err.Error() != test.want {
			t.Errorf("%q:\n got %v\nwant %s", test.text, err, test.want)
		}
		var specErr *SpecError
		if !errors.As(err, &specErr) {
			t.Errorf("%q: %T, want *SpecError", test.text, err)
		}
	}
}
