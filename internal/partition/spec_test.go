// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/taskiso/taskiso/internal/specfile"
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
cache_ways = 4
siblings = "offline"
skip = ["thp", "ksm"]
require = ["cpuset"]
`)
	want := Spec{"dpdk", "2-3", "0", "throughput", "root", true, 4, "offline", []string{"thp", "ksm"}, []string{"cpuset"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if _, err := ParseSpec("spec.toml", "require = [\"cache\"]\ncache_ways = 4\n"); err != nil {
		t.Errorf("what is required is given below: %v", err)
	}
}

func TestParseSpecCPUs(t *testing.T) {
	for text, at := range map[string]string{"cpus = \"2-\"\n": "spec.toml:1:1: cpus: ", "\nhousekeeping = \"x\"\n": "spec.toml:2:1: housekeeping: "} {
		if _, err := ParseSpec("spec.toml", text); err == nil || !strings.HasPrefix(err.Error(), at) {
			t.Errorf("%q: got %v, want %s...", text, err, at)
		}
	}
}

func TestParseSpecErrors(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"cycle = 1\n", `spec.toml:1:1: cycle: is 1, want true or false`},
		{"cpus = \"2-3\"\n  color = 1\n", `spec.toml:2:3: unknown key "color": want one of name, cpus, housekeeping, profile, partition, cycle, cache_ways, siblings, skip, require`},
		{"cpus = 3\n", `spec.toml:1:1: cpus: is 3, want a string in quotes`},
		{"\ncpus = \"1\"\nskip = \"thp\"\n", `spec.toml:3:1: skip: is thp, want a list of strings`},
		{"cache_ways = \"4\"\n", `spec.toml:1:1: cache_ways: is 4, want a number without quotes`},
		{"cache_ways = 4.5\n", `spec.toml:1:1: cache_ways: is 4.5, want a number without quotes`},
		{"skip = [\"thp\", 1]\n", `spec.toml:1:1: skip: has 1, want strings only`},
		{"# b = 1\n[irq]\nx = 1\n", `spec.toml:2:2: unknown key "irq": want one of name, cpus, housekeeping, profile, partition, cycle, cache_ways, siblings, skip, require`},
		{"b = 1\na = 1\n", `spec.toml:1:1: unknown key "b": want one of name, cpus, housekeeping, profile, partition, cycle, cache_ways, siblings, skip, require`},
		{"cpus = \"1\"\ncpus = \"2\"\n", `spec.toml:2:12: key 'cpus' has already been defined`},
		{"cpus = \"2\"\nprofile = \"fast\"\n", `spec.toml:2:1: profile "fast": want latency or throughput`},
		{"partition = \"isolate\"\n", `spec.toml:1:1: partition "isolate": want isolated, root or none`},
		{"\n name = \"a b\"\n", `spec.toml:2:2: name "a b": want letters, digits, - and _, at most 64`},
		{"skip = [\"thp\"]\nrequire = [\"thp\"]\n", `spec.toml:2:1: setting "thp" is both required and skipped`},
		{"cpus = \"1\ncpu\n", `spec.toml:1:10: strings cannot contain newlines`},
	} {
		_, err := ParseSpec("spec.toml", test.text)
		if err == nil || err.Error() != test.want {
			t.Errorf("%q:\n got %v\nwant %s", test.text, err, test.want)
		}
		var specErr *specfile.Error
		if !errors.As(err, &specErr) {
			t.Errorf("%q: %T, want *specfile.Error", test.text, err)
		}
	}
}
