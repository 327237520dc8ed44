// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/hold/operation"
	"github.com/taskiso/taskiso/internal/specfile"
	"github.com/taskiso/taskiso/internal/sysname"
)

// The numbers that Go and the programs share are the same on both sides.
func TestEnumsAreThoseOfThePrograms(t *testing.T) {
	spec, err := loadBpf()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]map[string]uint64{
		"operation": operationNumbers(),
		"policy":    {"POLICY_IGNORE": uint64(programIgnore), "POLICY_HOLD": uint64(programHold), "POLICY_REPORT": uint64(programReport)},
		"answer":    {"ANSWER_WAIT": uint64(wait), "ANSWER_PASS": uint64(pass), "ANSWER_DENY": uint64(deny), "ANSWER_TAKEN": uint64(taken)},
		"mode":      {"MODE_OPEN": uint64(open), "MODE_CLOSED": uint64(closed), "MODE_BUSY": uint64(busy)},
		"exemption": {
			"EXEMPT_NOT": uint64(exemptNot), "EXEMPT_REPORT": uint64(exemptReport), "EXEMPT_INIT": uint64(exemptInit), "EXEMPT_HELPER": uint64(exemptHelper),
			"EXEMPT_WORKER": uint64(exemptWorker), "EXEMPT_TRACED": uint64(exemptTraced), "EXEMPT_CALL": uint64(exemptCall), "EXEMPT_COMPAT": uint64(exemptCompat),
			"EXEMPT_SIGNAL": uint64(exemptSignal), "EXEMPT_FULL": uint64(exemptFull), "EXEMPT_SILENCE": uint64(exemptSilence), "EXEMPT_CHILD": uint64(exemptChild), "EXEMPT_INIT_CHILD": uint64(exemptInitChild),
		},
	} {
		var e *btf.Enum
		if err := spec.Types.TypeByName(name, &e); err != nil {
			t.Fatalf("enum %s: %v", name, err)
		}
		got := make(map[string]uint64)
		for _, v := range e.Values {
			got[v.Name] = v.Value
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("enum %s: the programs have %v, Go %v", name, got, want)
		}
	}
	for e := exemptInit; e <= exemptInitChild; e++ {
		if reason := exemptions[e]; reason.String() == string(reason) {
			t.Errorf("exemption %d has no words", e)
		}
	}
}

func operationNumbers() map[string]uint64 {
	numbers := map[string]uint64{"OP_NONE": 0, "OPERATIONS": uint64(opCodes)}
	for _, o := range Operations() {
		numbers["OP_"+strings.ToUpper(strings.ReplaceAll(o.Name, "-", "_"))] = uint64(o.code)
	}
	return numbers
}

// Every row of the table can be acted upon.
func TestOperationsAreComplete(t *testing.T) {
	spec, err := loadBpf()
	if err != nil {
		t.Fatal(err)
	}
	hooks := make(map[string]bool)
	for _, p := range spec.Programs {
		hooks[hookPrefix+p.AttachTo] = true
	}
	for _, o := range Operations() {
		for _, hook := range o.Hooks {
			if !hooks[hook] {
				t.Errorf("%s: no program is at %s", o.Name, hook)
			}
		}
		known := slices.ContainsFunc(o.Calls, func(name string) bool { _, ok := sysname.Number(name); return ok })
		if len(o.Hooks) == 0 || !known || o.What == "" {
			t.Errorf("%s: hooks %v, calls %v, %q", o.Name, o.Hooks, o.Calls, o.What)
		}
	}
}

func TestParseHours(t *testing.T) {
	day := func(clock string) time.Time {
		at, err := time.Parse("15:04", clock)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	for _, tc := range []struct {
		text, in, out string
	}{
		{"09:30-16:00", "09:30", "16:00"},
		{"09:30-16:00", "15:59", "09:29"},
		{"22:00-02:00", "23:00", "12:00"},
		{"22:00-02:00", "01:59", "02:00"},
	} {
		h, err := ParseHours(tc.text)
		if err != nil {
			t.Errorf("%s: %v", tc.text, err)
		}
		if !h.contains(day(tc.in)) || h.contains(day(tc.out)) {
			t.Errorf("%s: has %s: %v, has %s: %v", tc.text, tc.in, h.contains(day(tc.in)), tc.out, h.contains(day(tc.out)))
		}
	}
	for _, text := range []string{"", "09:30", "9-16:00:00:00", "25:00-26:00", "10:00-10:00", "a-b"} {
		if h, err := ParseHours(text); err == nil {
			t.Errorf("%q is taken for %v", text, h)
		}
	}
}

func TestRules(t *testing.T) {
	who := operation.Record{Command: "nft", UID: 1000, Cgroup: "/system.slice/a.service"}
	for text, want := range map[string]bool{
		"comm=nft": true, "comm=n*": true, "comm=tc": false, "uid=1000": true, "uid=0": false,
		"cgroup=/system.slice": true, "cgroup=/system.slice/a.service": true, "cgroup=/system": false, "cgroup=/": true,
		"comm=nft uid=1000 cgroup=/system.slice": true, "comm=nft,uid=0": false,
	} {
		r, err := ParseRule(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if got := r.allows(who); got != want {
			t.Errorf("%q allows %+v: %v, want %v", text, who, got, want)
		}
	}
	for _, text := range []string{"", " ", "comm", "comm=", "comm=[", "uid=x y", "uid=nobody-of-that-name", "cgroup=a", "pid=1"} {
		if r, err := ParseRule(text); err == nil {
			t.Errorf("%q is taken for %+v", text, r)
		}
	}
}

func TestParseSpec(t *testing.T) {
	s, err := ParseSpec("hold.toml", "cpus = \"2-3\"\nmax-wait = \"1m\"\nduring = \"09:30-16:00\"\nallow = [\"comm=nft\"]\ndeny = [\"module\"]\n")
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Policy: Hold}
	if err := s.Apply(&c); err != nil {
		t.Fatal(err)
	}
	module, err := operationNamed("module")
	if err != nil || c.MaxWait != time.Minute || len(c.Allow) != 1 || c.policyOf(module) != Deny || !c.When.During.isSet() {
		t.Errorf("%+v, %v", c, err)
	}
	for text, want := range map[string]string{
		"policy = \"no\"":                  "h.toml:1:1: unknown policy",
		"cpus = \"2\"\nmax-wait = \"-1s\"": "h.toml:2:1: max-wait \"-1s\": want",
		"\nwindow = 3":                     "h.toml:2:1: window: is 3, want a string",
		"hold = [\"modules\"]":             "h.toml:1:1: unknown operation \"modules\": want one of bpf, perf",
		"allow = [\"uid\"]":                "h.toml:1:1: rule \"uid\"",
		"polcy = \"hold\"":                 "h.toml:1:1: unknown key \"polcy\": want one of cpus, max-wait",
		"policy = ":                        "h.toml:1:9: ",
		"window = \"1:00-2:00\"\nduring=\"3:00-4:00\"": "exclude each other",
		"hold = [\"bpf\"]\ndeny = [\"bpf\"]":           "operation \"bpf\" is in two lists",
	} {
		_, err := ParseSpec("h.toml", text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	var at *specfile.Error
	if _, err := ParseSpec("h.toml", "a = 1"); !errors.As(err, &at) || at.Line != 1 {
		t.Errorf("%v", err)
	}
}

// writes makes the event of a write to a file.
func writes(c code, text string) *event {
	return &event{
		code: c, PID: 7, TID: 7, nr: unix.SYS_WRITE, args: [6]uint64{3, 0x1000, uint64(len(text))}, detail: [2]uint64{mayWrite}, memory: []byte(text),
	}
}

// What a process does with a file is told by the file's whole path, and by what it writes.
func TestInspector(t *testing.T) {
	cpus := parse(t, "2-3")
	for _, tc := range []struct {
		name, path, text string
		code             code
		harmful          bool
	}{
		{"a CPU", "/sys/devices/system/cpu/cpu1/online", "0", opHotplug, true},
		{"SMT", "/sys/devices/system/cpu/smt/control", "off", opHotplug, true},
		{"another online", "/sys/devices/foo/online", "0", opHotplug, false},
		{"memory", "/sys/devices/system/memory/memory3/online", "0", opHotplug, true}, // found to be opMemory
		{"microcode", "/sys/devices/system/cpu/microcode/reload", "1", opMicrocode, true},
		{"another reload", "/sys/class/foo/reload", "1", opMicrocode, false},
		{"an interrupt to our CPU", "/proc/irq/4/smp_affinity_list", "1-2\n", opIRQ, true},
		{"an interrupt to another", "/proc/irq/4/smp_affinity_list", "0-1\n", opIRQ, false},
		{"a mask with ours", "/proc/irq/4/smp_affinity", "0000000c\n", opIRQ, true},
		{"a mask without", "/proc/irq/4/smp_affinity", "3\n", opIRQ, false},
		{"not a mask", "/proc/irq/4/smp_affinity", "x", opIRQ, true},
		{"a setting", "/proc/sys/vm/drop_caches", "1", opSysctl, true},
		{"a setting of another name", "/proc/sys/net/drop_caches", "1", opSysctl, false},
		{"backtraces", "/proc/sysrq-trigger", "l", opSysrq, true},
		{"sync", "/proc/sysrq-trigger", "s", opSysrq, false},
		{"our cgroup", "/sys/fs/cgroup/ours/cgroup.procs", "0", opCpuset, true},
		{"a shared cgroup", "/sys/fs/cgroup/shared/cgroup.procs", "0", opCpuset, false},
		{"CPUs of a cgroup", "/sys/fs/cgroup/shared/cpuset.cpus", "3", opCpuset, true},
		{"other CPUs of a cgroup", "/sys/fs/cgroup/shared/cpuset.cpus", "0-1", opCpuset, true}, // scheduling domains are built anew
		{"a partition", "/sys/fs/cgroup/shared/cpuset.cpus.partition", "root", opCpuset, true},
		{"exclusive CPUs", "/sys/fs/cgroup/shared/cpuset.cpus.exclusive", "0", opCpuset, true},
		{"balancing, version 1", "/sys/fs/cgroup/cpuset/a/cpuset.sched_load_balance", "0", opCpuset, true},
		{"levels of domains, version 1", "/sys/fs/cgroup/cpuset/a/cpuset.sched_relax_domain_level", "1", opCpuset, true},
		{"exclusive, version 1", "/sys/fs/cgroup/cpuset/a/cpuset.cpu_exclusive", "1", opCpuset, true},
		{"a controller", "/sys/fs/cgroup/shared/cgroup.subtree_control", "-cpuset", opCpuset, true},
		{"another controller", "/sys/fs/cgroup/shared/cgroup.subtree_control", "+memory", opCpuset, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			i := inspector{
				files: opened(tc.path, mountOf(tc.path), ourMounts),
				cpus:  cpus,
			}
			f := i.find(writes(tc.code, tc.text))
			if isMemory := strings.Contains(tc.path, "/memory/"); isMemory != (f.code == opMemory) {
				t.Errorf("taken for operation %d", f.code)
			}
			if f.harmful != tc.harmful || f.detail != tc.path {
				t.Errorf("got %+v, want harmful %v", f, tc.harmful)
			}
		})
	}
}

// ourMounts are those of taskiso, and of a process in the same mount namespace.
const ourMounts = `21 1 0:20 / /proc rw,nosuid - proc proc rw
22 1 0:21 / /sys rw shared:2 - sysfs sysfs rw
23 22 0:22 / /sys/fs/cgroup rw shared:3 master:1 - cgroup2 cgroup2 rw
24 23 0:24 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset
`

// mountOf is the mount of ours by which a path is reached.
func mountOf(path string) string {
	for _, m := range []struct{ dir, id string }{{"/proc", "21"}, {"/sys/fs/cgroup/cpuset", "24"}, {"/sys/fs/cgroup", "23"}, {"/sys", "22"}} {
		if strings.HasPrefix(path, m.dir) {
			return m.id
		}
	}
	return "0"
}

// opened is a machine on which thread 7 has opened a file as descriptor 3, through one of its mounts.
func opened(path, mount, mounts string) fstest.MapFS {
	return fstest.MapFS{
		"proc/7/fd/3":                                    {Data: []byte(path), Mode: fs.ModeSymlink},
		"proc/7/fdinfo/3":                                {Data: []byte("pos:\t0\nflags:\t0100001\nmnt_id:\t" + mount + "\nino:\t4711\n")},
		"proc/7/mountinfo":                               {Data: []byte(mounts)},
		"proc/self/mountinfo":                            {Data: []byte(ourMounts)},
		"sys/fs/cgroup/ours/cpuset.cpus.effective":       {Data: []byte("2-3\n")},
		"sys/fs/cgroup/ours/inner/cpuset.cpus.effective": {Data: []byte("3\n")},
		"sys/fs/cgroup/shared/cpuset.cpus.effective":     {Data: []byte("0-3\n")},
		"sys/fs/cgroup/cpuset/a/cpuset.effective_cpus":   {Data: []byte("3\n")},
		"tmp/x/cpuset.cpus.effective":                    {Data: []byte("0-3\n")}, // somebody's
	}
}

// Where a file is does not depend on the mount through which it was opened; what is not known counts as harmful.
func TestInspectorThroughOtherMounts(t *testing.T) {
	for _, tc := range []struct {
		name, path, mount string
		code              code
		text              string
		detail            string
		harmful           bool
	}{
		{"the host's /proc in a container", "/host/proc/sys/vm/drop_caches", "31 1 0:20 / /host/proc rw - proc proc rw", opSysctl, "1", "/proc/sys/vm/drop_caches", true},
		{"another setting there", "/host/proc/sys/net/drop_caches", "31 1 0:20 / /host/proc rw - proc proc rw", opSysctl, "1", "/proc/sys/net/drop_caches", false},
		{"a directory of it", "/tmp/vm/drop_caches", "31 1 0:20 /sys/vm /tmp/vm rw - proc proc rw", opSysctl, "1", "/proc/sys/vm/drop_caches", true},
		{"the host's /sys", "/host/sys/devices/system/cpu/cpu1/online", "31 1 0:21 / /host/sys rw - sysfs sysfs rw", opHotplug, "0", "/sys/devices/system/cpu/cpu1/online", true},
		{"a file alone", "/tmp/y", "31 1 0:21 /devices/system/cpu/cpu1/online /tmp/y rw - sysfs sysfs rw", opHotplug, "0", "/sys/devices/system/cpu/cpu1/online", true},
		{"an interrupt", "/a b/irq/4/smp_affinity_list", `31 1 0:20 / /a\040b rw - proc proc rw`, opIRQ, "0-1\n", "/proc/irq/4/smp_affinity_list", false},
		{"a cgroup namespace", "/sys/fs/cgroup/cgroup.procs", "31 1 0:22 /ours /sys/fs/cgroup rw - cgroup2 cgroup2 rw", opCpuset, "0", "/sys/fs/cgroup/ours/cgroup.procs", true},
		{"a cgroup in it", "/sys/fs/cgroup/inner/cgroup.procs", "31 1 0:22 /ours /sys/fs/cgroup rw - cgroup2 cgroup2 rw", opCpuset, "0", "/sys/fs/cgroup/ours/inner/cgroup.procs", true},
		{"one of shared CPUs", "/sys/fs/cgroup/cgroup.procs", "31 1 0:22 /shared /sys/fs/cgroup rw - cgroup2 cgroup2 rw", opCpuset, "0", "/sys/fs/cgroup/shared/cgroup.procs", false},
		{"where somebody else has a file", "/tmp/x/cgroup.procs", "31 1 0:22 /ours /tmp/x rw - cgroup2 cgroup2 rw", opCpuset, "0", "/sys/fs/cgroup/ours/cgroup.procs", true},
		{"version 1", "/c/a/tasks", "31 1 0:24 / /c rw - cgroup cgroup rw,cpuset", opCpuset, "0", "/sys/fs/cgroup/cpuset/a/tasks", true},
		{"a hierarchy that is not mounted here", "/tmp/x/cgroup.procs", "31 1 0:99 / /tmp/x rw - cgroup2 cgroup2 rw", opCpuset, "0", "/tmp/x/cgroup.procs", true},
		{"beyond our cgroup namespace", "/c/cgroup.procs", "31 1 0:22 /../other /c rw - cgroup2 cgroup2 rw", opCpuset, "0", "/c/cgroup.procs", true},
		{"a mount that is gone", "/proc/sys/net/drop_caches", "32 1 0:20 / /proc rw - proc proc rw", opSysctl, "1", "/proc/sys/net/drop_caches", true},
		{"another root directory", "/proc/sys/net/drop_caches", "31 1 0:20 / /jail/proc rw - proc proc rw", opSysctl, "1", "/proc/sys/net/drop_caches", true},
		{"no line of mounts", "/proc/sys/net/drop_caches", "31 1 - x", opSysctl, "1", "/proc/sys/net/drop_caches", true},
	} {
		i := inspector{files: opened(tc.path, "31", "20 1 0:1 / / rw - ext4 x rw\n"+tc.mount+"\n"), cpus: parse(t, "2-3")}
		if f := i.find(writes(tc.code, tc.text)); f.harmful != tc.harmful || f.detail != tc.detail {
			t.Errorf("%s: %+v, want harmful %v, %s", tc.name, f, tc.harmful, tc.detail)
		}
	}
}

// What cannot be found out counts as harmful: memory that is not there, in whole or in part.
func TestInspectorWithoutMemory(t *testing.T) {
	cpus := parse(t, "2-3")
	files := fstest.MapFS{"proc/7/fd/3": {Mode: fs.ModeSymlink}}
	for _, o := range Operations() {
		if o.code == opDevice || o.code == opAffinity { // told by the hook; TestInspectorAffinity
			continue
		}
		for _, path := range []string{"/proc/irq/4/smp_affinity", "/proc/sysrq-trigger", "/sys/fs/cgroup/a/cgroup.subtree_control", ""} {
			i := inspector{files: files, cpus: cpus}
			files["proc/7/fd/3"].Data = []byte(path)
			e := event{code: o.code, PID: 7, nr: unix.SYS_WRITE, args: [6]uint64{3, 1, 300}, detail: [2]uint64{5}}
			for size := range 4 {
				e.memory = make([]byte, size)
				if isFileOf(o.code, path) {
					if f := i.find(&e); !f.harmful {
						t.Errorf("%s of %q with %d bytes of memory: %+v", o.Name, path, size, f)
					}
				}
			}
		}
	}
}

// isFileOf reports whether a path can be one of an operation by files, if it is one.
func isFileOf(c code, path string) bool {
	switch c {
	case opIRQ:
		return strings.Contains(path, "irq")
	case opSysrq:
		return strings.Contains(path, "sysrq")
	case opCpuset:
		return strings.Contains(path, "cgroup")
	case opHotplug, opMemory, opMicrocode, opSysctl:
		return path == ""
	}
	return true
}

func parse(t testing.TB, list string) cpulist.Set {
	t.Helper()
	cpus, err := cpulist.Parse(list)
	if err != nil {
		t.Fatal(err)
	}
	return cpus
}

// The kernel takes 32 bits of a size, and what lies beyond a mask that was read may be ours.
func TestInspectorAffinity(t *testing.T) {
	for name, tc := range map[string]struct {
		size    uint64
		memory  []byte
		cpus    string
		harmful bool
	}{
		"ours":                        {8, []byte{0x0c, 0, 0, 0, 0, 0, 0, 0}, "2-3", true},
		"others":                      {8, []byte{0x03, 0, 0, 0, 0, 0, 0, 0}, "2-3", false},
		"part of a word":              {1, []byte{0x0c}, "2-3", true},
		"a size of more than 32 bits": {0xffffffff00000008, []byte{0x0c, 0, 0, 0, 0, 0, 0, 0}, "2-3", true},
		"beyond what was read":        {512, make([]byte, 256), "2100", true},
		"all of ours were read":       {512, make([]byte, 256), "2-3", false},
		"nothing was read":            {8, nil, "2-3", true},
	} {
		i := inspector{cpus: parse(t, tc.cpus)}
		if f := i.find(&event{code: opAffinity, args: [6]uint64{0, tc.size, 0x1000}, memory: tc.memory}); f.harmful != tc.harmful {
			t.Errorf("%s: %+v, want harmful %v", name, f, tc.harmful)
		}
	}
}

// Whatever memory and arguments a process has, and whatever it calls its files.
func FuzzInspector(f *testing.F) {
	f.Add(uint32(opPerf), uint64(1), uint64(8), uint64(3), uint64(0), []byte{1}, "/a")
	f.Add(uint32(opAffinity), uint64(0), uint64(math.MaxUint64), uint64(1), uint64(1), []byte{0xff, 1}, "")
	f.Add(uint32(opIRQ), uint64(3), uint64(1), uint64(1<<63), uint64(2), []byte(",,"), "/proc/irq/1/smp_affinity")
	f.Add(uint32(opCpuset), uint64(3), uint64(1), uint64(3), uint64(2), []byte("1-9"), "/sys/fs/cgroup/cgroup.procs")
	f.Add(uint32(opDevice), uint64(3), uint64(1), uint64(3), uint64(math.MaxUint64), []byte{}, "x")
	cpus := parse(f, "2-3")
	f.Fuzz(func(t *testing.T, c uint32, a0, a1, a2, detail uint64, memory []byte, file string) {
		i := inspector{files: opened(file, mountOf(file), ourMounts), cpus: cpus}
		for _, nr := range []int{unix.SYS_WRITE, unix.SYS_SCHED_SETAFFINITY, math.MaxInt32} {
			e := &event{code: code(c), PID: 7, TID: 7, nr: nr, args: [6]uint64{a0, a1, a2}, detail: [2]uint64{detail, detail}, memory: memory}
			found := i.find(e)
			if e.code == opPerf && len(memory) < 4 && !found.harmful {
				t.Errorf("of a perf event of which nothing is known: %+v", found)
			}
		}
	})
}

// The schema has the fields of the Go types, and no others.
func TestSchemaIsThatOfTheGoTypes(t *testing.T) {
	text, err := os.ReadFile("../../docs/hold.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Defs map[string]struct{ Properties map[string]any } `json:"$defs"`
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]reflect.Type{"record": reflect.TypeFor[operation.Record](), "status": reflect.TypeFor[Status]()} {
		var fields, properties []string
		for i := range v.NumField() {
			field, _, _ := strings.Cut(v.Field(i).Tag.Get("json"), ",")
			fields = append(fields, field)
		}
		for p := range schema.Defs[name].Properties {
			properties = append(properties, p)
		}
		slices.Sort(fields)
		slices.Sort(properties)
		if !slices.Equal(fields, properties) {
			t.Errorf("%s: the schema has %v, Go %v", name, properties, fields)
		}
	}
}

// The hand goes before what is isolated, and that before the clock.
func TestWanted(t *testing.T) {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.Local)
	atNoon, yes, no := Hours{11 * time.Hour, 13 * time.Hour}, true, false
	for name, tc := range map[string]struct {
		k    *Keeper
		want mode
	}{
		"always":                {&Keeper{}, closed},
		"while busy":            {&Keeper{cfg: Config{When: When{WhileBusy: true}}}, busy},
		"in the window":         {&Keeper{cfg: Config{When: When{Window: atNoon}}}, open},
		"during":                {&Keeper{cfg: Config{When: When{During: atNoon, WhileBusy: true}}}, busy},
		"isolated":              {&Keeper{cfg: Config{When: When{WhileBusy: true}}, isolated: &yes}, closed},
		"not isolated":          {&Keeper{cfg: Config{When: When{WhileBusy: true}}, isolated: &no}, open},
		"isolated in a window":  {&Keeper{cfg: Config{When: When{Window: atNoon}}, isolated: &yes}, open},
		"by hand":               {&Keeper{hand: hand{mode: open, set: true}, isolated: &yes}, open},
		"by hand, until later":  {&Keeper{hand: hand{mode: open, set: true, until: noon.Add(1)}}, open},
		"by hand, until before": {&Keeper{hand: hand{mode: open, set: true, until: noon.Add(-1)}}, closed},
	} {
		if got := tc.k.wanted(noon); got != tc.want {
			t.Errorf("%s: mode %d, want %d", name, got, tc.want)
		}
	}
}

// One keeper at a time; and what a killed one left is in nobody's way.
func TestSocket(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if _, err := Connect(dir).Status(); !errors.Is(err, ErrNoHold) {
		t.Errorf("without a keeper: %v", err)
	}
	s, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(dir); err == nil || !strings.Contains(err.Error(), "holds already") {
		t.Errorf("a second one: %v", err)
	}
	if info, err := os.Stat(filepath.Join(dir, socketName)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket %v, %v, want it for its owner only", info, err)
	}
	ended := make(chan struct{})
	close(ended)
	k := &Keeper{orders: make(chan func()), ended: ended}
	go s.Serve(k)
	if err := Connect(dir).Order(WindowOpen, 0); err == nil || err.Error() != ErrEnded.Error() {
		t.Errorf("a keeper that has ended: %v", err)
	}
	if err := Connect(dir).Order("wide", 0); err == nil {
		t.Error("an unknown window is taken")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, socketName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := Listen(dir)
	if err != nil {
		t.Fatalf("after one that was killed: %v", err)
	}
	again.Close()
}

// A name of a thread or file is no line of the output, and no order to a terminal.
func TestNamesArePlain(t *testing.T) {
	r := operation.Record{Command: "a\nb\x1b[2J", Detail: "/tmp/x\ny", Outcome: operation.Held, Operation: "irq"}
	var status strings.Builder
	if err := (Status{Held: []operation.Record{r}}).WriteText(&status); err != nil {
		t.Fatal(err)
	}
	if line := r.String(); strings.ContainsAny(line, "\n\x1b") || !strings.Contains(line, `a\nb`) {
		t.Errorf("line %q", line)
	}
	if text := status.String(); strings.Contains(text, "\x1b") || strings.Count(text, "\n") != 3 {
		t.Errorf("status %q", text)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(make([]byte, 16))
	f.Add(slices.Repeat([]byte{0xff}, 128))
	f.Add(binary.NativeEndian.AppendUint64(make([]byte, 120), math.MaxUint64))
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := decode(raw)
		if err == nil && (len(e.Comm) > 16 || strings.ContainsRune(e.Comm, 0)) {
			t.Errorf("command %q", e.Comm)
		}
	})
}

func FuzzParseSpec(f *testing.F) {
	f.Add("cpus = \"2-3\"\nmax-wait = \"1m\"\nallow = [\"comm=nft uid=0\"]\nhold = [\"bpf\"]\nwindow = \"22:00-02:00\"")
	f.Add("policy = \"deny\"\n[a]\nb=1")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSpec("f", text)
		if err != nil {
			return
		}
		var c Config
		if err := s.Apply(&c); err != nil {
			t.Errorf("%q is read, and then refused: %v", text, err)
		}
	})
}

func FuzzParseRule(f *testing.F) {
	for _, text := range []string{"comm=nft", "uid=0,cgroup=/a", "comm=[a-z]*"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if r, err := ParseRule(text); err == nil && r == (Rule{}) {
			t.Errorf("%q allows everybody", text)
		}
	})
}

// A process can have anything in its files.
func FuzzInspectStatus(f *testing.F) {
	f.Add("SigPnd:\t0\nShdPnd:\t4000\nSigBlk:\t0\nSigIgn:\t0\nSigCgt:\t0\nTracerPid:\t1\nSeccomp:\t2\n", "0::/a\n", "1 (a b) S 1")
	f.Fuzz(func(t *testing.T, status, cgroup, stat string) {
		files := fstest.MapFS{
			"proc/1/task/1/status": {Data: []byte(status)}, "proc/1/cgroup": {Data: []byte(cgroup)}, "proc/1/task/1/stat": {Data: []byte(stat)},
		}
		hasSignal(files, 1, 1)
		hasFilter(files, 1, 1)
		tracerOf(files, 1, 1)
		_ = life{}.hasEnded(lifeOf(files, 1, 1))
		i := inspector{files: files, allowed: affinity.Of}
		i.isOurs(1)
		i.cgroup(1)
	})
}

// Any text as a list of mounts: of a process, which mounts what it likes by which name it likes.
func FuzzLocate(f *testing.F) {
	f.Add(ourMounts, "/proc/sys/vm/drop_caches", "21")
	f.Add(`31 1 0:20 / /a\040b rw - proc proc rw`, "/a b/x", "31")
	f.Add(`31 1 0:20 \9 /a\ rw - proc`, "/a", "31")
	f.Fuzz(func(t *testing.T, mounts, file, id string) {
		i := inspector{files: opened(file, id, mounts)}
		if name, known := i.locate(7, 3); known && !path.IsAbs(name) {
			t.Errorf("%q by mount %q of %q is known to be %q", file, id, mounts, name)
		}
	})
}

// Kernels show zeros to those from whom they hide addresses; the first ones are zero anyway.
func TestAddressesHidden(t *testing.T) {
	const first = "0000000000000000 A fixed_percpu_data\n"
	for text, want := range map[string]bool{
		first + "0000000000001000 A cpu_debug_store\n": false,
		first + "0000000000000000 A cpu_debug_store\n": true,
		"": false,
	} {
		if got := addressesHidden(fstest.MapFS{"proc/kallsyms": {Data: []byte(text)}}); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	if addressesHidden(fstest.MapFS{}) {
		t.Error("without the file they are hidden")
	}
}
