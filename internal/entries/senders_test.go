// SPDX-License-Identifier: Apache-2.0

package entries

import (
	"cmp"
	"debug/elf"
	"embed"
	"encoding/binary"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/cause"
	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/stay"
)

// testdata/senders has for each kernel what calls the functions by which a CPU
// interrupts others: a caller, the function, and the functions whose addresses are
// loaded before the call, of which one is what the others are to run.
//
//go:embed testdata/senders
var senderFiles embed.FS

const sendersDir = "testdata/senders"

var update = flag.Bool("update", false, "write what the guests' kernels have")

// way is how what a sender does arrives on the other CPU.
type way string

const (
	callsFunction way = "function call" // what is handed over runs in a function-call interrupt
	callsLater    way = "queued call"   // the same, but what runs is in a structure: see senders.toml
	patches       way = "text patching" // do_sync_core
	kicksTick     way = "kick"          // nohz_full_kick_func
	asksRCU       way = "RCU"           // rcu_exp_handler
	reschedules   way = "rescheduling"  // a rescheduling interrupt
	stops         way = "stopper"       // the migration thread
	queuesWork    way = "per-CPU work"  // a kworker runs what is handed over
	sendsNMI      way = "NMI backtrace" // nmi_cpu_backtrace_handler
)

// primitives are the functions by which the kernel interrupts other CPUs or has them do
// something. The list is that of kernel/smp.c, kernel/stop_machine.c, kernel/workqueue.c,
// kernel/irq_work.c, kernel/time/tick-sched.c and arch/x86/kernel/alternative.c.
var primitives = map[way]string{
	callsFunction: `smp_call_function smp_call_function_any smp_call_function_many smp_call_function_many_cond smp_call_function_single
		on_each_cpu_cond_mask kick_all_cpus_sync generic_exec_single`,
	callsLater: "smp_call_function_single_async irq_work_queue_on __smp_call_single_queue",
	patches: `text_poke_bp text_poke_bp_batch text_poke_finish text_poke_queue text_poke_sync
		smp_text_poke_single smp_text_poke_batch_add smp_text_poke_batch_finish smp_text_poke_sync_each_cpu`,
	kicksTick: `tick_nohz_dep_set tick_nohz_dep_set_cpu tick_nohz_dep_set_task tick_nohz_dep_set_signal
		tick_nohz_full_kick_cpu tick_nohz_full_kick_all`,
	asksRCU:     "synchronize_rcu_expedited",
	reschedules: "kick_process resched_cpu wake_up_if_idle wake_up_all_idle_cpus",
	stops: `stop_machine stop_machine_cpuslocked stop_machine_from_inactive_cpu stop_core_cpuslocked stop_one_cpu
		stop_one_cpu_nowait stop_two_cpus`,
	queuesWork: "schedule_on_each_cpu work_on_cpu work_on_cpu_key smp_call_on_cpu",
	sendsNMI:   "nmi_trigger_cpumask_backtrace",
}

// ways maps each primitive to its way.
func ways() map[string]way {
	all := make(map[string]way)
	for w, names := range primitives {
		for _, name := range strings.Fields(names) {
			all[name] = w
		}
	}
	return all
}

// sender is a line of a list of senders.
type sender struct {
	caller, primitive string
	loaded            []string
}

func (s sender) String() string {
	return strings.Join([]string{s.caller, s.primitive, strings.Join(s.loaded, ",")}, " ")
}

func parseSender(line string) sender {
	fields := strings.Split(line, " ")
	s := sender{caller: fields[0], primitive: fields[1]}
	if fields[2] != "" {
		s.loaded = strings.Split(fields[2], ",")
	}
	return s
}

func knownSenders(t *testing.T, kernel string) []string {
	t.Helper()
	text, err := senderFiles.ReadFile(sendersDir + "/" + kernel + ".txt")
	if err != nil {
		return nil // of a kernel that is new, all are
	}
	return strings.Split(strings.TrimRight(string(text), "\n"), "\n")
}

const sendsMark = "sends:"

// TestGuestSendersAreKnown reads the calls in the text of the running kernel and
// compares them with the list that TestSendersAreNamed goes by.
func TestGuestSendersAreKnown(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("calls are read as x86 encodes them")
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	kernel := kernelOf(unix.ByteSliceToString(u.Release[:]))
	found, known := readSenders(t), knownSenders(t, kernel)
	for _, line := range found {
		if !slices.Contains(known, line) {
			t.Errorf("new: %s", line)
		}
	}
	for _, line := range known {
		if !slices.Contains(found, line) {
			t.Errorf("missing: %s", line)
		}
	}
	if !t.Failed() {
		return
	}
	t.Errorf("Linux %s is not what %s/%s.txt says: run go test -run '^TestVM$' ./internal/entries -args -update, then TestSendersAreNamed, which says what is without a cause", kernel, sendersDir, kernel)
	for _, line := range found {
		t.Log(sendsMark + line)
	}
}

// kernelOf names the list of a kernel: by the first two numbers of its release, and by the flavour of Debian's that has other
// senders.
func kernelOf(release string) string {
	parts := strings.SplitN(release, ".", 3)
	name := strings.Join(parts[:min(2, len(parts))], ".")
	if strings.Contains(release, "-rt-") {
		name += "-rt"
	}
	return name
}

// writeSenders writes what a guest found that is not what its list has.
func writeSenders(t *testing.T, release, output string) {
	var lines []string
	for line := range strings.Lines(output) {
		if _, found, ok := strings.Cut(strings.TrimRight(line, "\n"), sendsMark); ok {
			lines = append(lines, found)
		}
	}
	if !*update || len(lines) == 0 {
		return
	}
	path := filepath.Join(sendersDir, kernelOf(release)+".txt")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s written; the guest's test compared with what was there before", path)
}

// text is the code of the running kernel.
type text struct {
	code    []byte
	from    uint64
	symbols []symbol // by address
}

type symbol struct {
	addr uint64
	name string
}

func readText(t *testing.T) text {
	t.Helper()
	content, err := os.ReadFile("/proc/kallsyms")
	if err != nil {
		t.Fatal(err)
	}
	var x text
	bounds := make(map[string]uint64)
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(line)
		if len(fields) != 3 || !strings.Contains("tTwW", fields[1]) {
			continue
		}
		addr, err := strconv.ParseUint(fields[0], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		bounds[fields[2]] = addr
		name, _, _ := strings.Cut(fields[2], ".") // clones of a function by the compiler
		x.symbols = append(x.symbols, symbol{addr, name})
	}
	slices.SortStableFunc(x.symbols, func(a, b symbol) int { return cmp.Compare(a.addr, b.addr) })
	x.from = bounds["_stext"]
	x.code = readCore(t, bounds["_stext"], bounds["_etext"])
	return x
}

func readCore(t *testing.T, from, to uint64) []byte {
	t.Helper()
	core, err := elf.Open("/proc/kcore")
	if err != nil {
		t.Fatal(err)
	}
	defer core.Close()
	for _, p := range core.Progs {
		if p.Type == elf.PT_LOAD && p.Vaddr <= from && to <= p.Vaddr+p.Filesz {
			code := make([]byte, to-from)
			if _, err := p.ReadAt(code, int64(from-p.Vaddr)); err != nil {
				t.Fatal(err)
			}
			return code
		}
	}
	t.Fatalf("no segment of /proc/kcore has the kernel's text, %#x-%#x", from, to)
	return nil
}

// at returns the function that addr lies in, and whether it begins there.
func (x text) at(addr uint64) (symbol, bool) {
	i, exact := slices.BinarySearchFunc(x.symbols, addr, func(s symbol, a uint64) int { return cmp.Compare(s.addr, a) })
	if !exact {
		i--
	}
	for i > 0 && x.symbols[i-1].addr == x.symbols[i].addr {
		i--
	}
	return x.symbols[max(0, i)], exact
}

// Instructions of x86 that matter here.
const (
	opCall, opJump = 0xe8, 0xe9 // both with a distance of 32 bits
	branchLength   = 5
	loadLength     = 7
	// loadedWithin is how many bytes before a call its arguments are looked for.
	loadedWithin = 160
)

func distance(code []byte) uint64 { return uint64(int64(int32(binary.LittleEndian.Uint32(code)))) }

// readSenders finds the calls by their encoding: four bytes that happen to be the
// distance to one of some 30 functions are not to be expected in other code.
func readSenders(t *testing.T) []string {
	t.Helper()
	x, all := readText(t), ways()
	targets := make(map[uint64]string)
	for _, s := range x.symbols {
		if all[s.name] != "" {
			targets[s.addr] = s.name
		}
	}
	found := make(map[[2]string]map[string]bool)
	for i := 0; i+branchLength <= len(x.code); i++ {
		if x.code[i] != opCall && x.code[i] != opJump {
			continue
		}
		at := x.from + uint64(i)
		primitive, ok := targets[at+branchLength+distance(x.code[i+1:])]
		if !ok {
			continue
		}
		caller, _ := x.at(at)
		key := [2]string{caller.name, primitive}
		if found[key] == nil {
			found[key] = make(map[string]bool)
		}
		x.loaded(max(int(caller.addr-x.from), i-loadedWithin), i, found[key])
	}
	var lines []string
	for key, loaded := range found {
		if all[key[0]] == "" { // a primitive that is built on another sends nothing of its own
			lines = append(lines, sender{key[0], key[1], slices.Sorted(maps.Keys(loaded))}.String())
		}
	}
	slices.Sort(lines)
	return lines
}

// loaded adds the functions whose addresses are loaded between two places.
func (x text) loaded(from, to int, names map[string]bool) {
	for i := from; i+loadLength <= to; i++ {
		c := x.code[i:]
		var addr uint64
		switch {
		case c[0]&0xfe == 0x48 && c[1] == 0xc7 && c[2]&0xf8 == 0xc0: // mov $addr, %reg
			addr = distance(c[3:])
		case c[0]&0xfb == 0x48 && c[1] == 0x8d && c[2]&0xc7 == 0x05: // lea distance(%rip), %reg
			addr = x.from + uint64(i) + loadLength + distance(c[3:])
		default:
			continue
		}
		if addr < x.from || addr >= x.from+uint64(len(x.code)) {
			continue
		}
		if s, exact := x.at(addr); exact {
			names[s.name] = true
		}
	}
}

// senderNotes is testdata/senders.toml.
type senderNotes struct {
	// Runs says what senders have others run, where the code does not show it.
	Runs []struct {
		Callers  []string `toml:"callers"`
		Function []string `toml:"function"`
	} `toml:"runs"`
	// General are senders of which no more can be said than a general cause does, or
	// that reach no isolated task, and why.
	General []struct {
		Callers []string `toml:"callers"`
		Why     string   `toml:"why"`
	} `toml:"general"`
	// NoFunction are functions that are loaded before a call for another reason.
	NoFunction []string `toml:"no_function"`
}

// general are the causes that say only how the CPU was interrupted.
var general = []string{"ipi-function", "ipi-text-patching", "ipi-tick-kick", "ipi-reschedule", "stopper", "work-bound", "unnamed"}

// TestSendersAreNamed has what each sender of each kernel does named: by a cause that is
// about it, or it is listed as general.
func TestSendersAreNamed(t *testing.T) {
	c, err := cause.Load()
	if err != nil {
		t.Fatal(err)
	}
	var notes senderNotes
	if meta, err := toml.DecodeFile("testdata/senders.toml", &notes); err != nil || len(meta.Undecoded()) > 0 {
		t.Fatalf("reading senders.toml: %v, unknown %v", err, meta.Undecoded())
	}
	runs, why := make(map[string][]string), make(map[string]string)
	for _, r := range notes.Runs {
		for _, caller := range r.Callers {
			runs[caller] = r.Function
		}
	}
	for _, g := range notes.General {
		for _, caller := range g.Callers {
			why[caller] = g.Why
		}
	}
	files, err := senderFiles.ReadDir(sendersDir)
	if err != nil {
		t.Fatal(err)
	}
	named, senders := make(map[string]bool), make(map[string]bool)
	for _, f := range files {
		kernel := strings.TrimSuffix(f.Name(), ".txt")
		for _, line := range knownSenders(t, kernel) {
			s := parseSender(line)
			senders[s.caller] = true
			for _, function := range s.functions(runs, notes.NoFunction) {
				id := nameOf(c, ways()[s.primitive], s, function)
				switch isGeneral := slices.Contains(general, id); {
				case isGeneral && why[s.caller] == "":
					t.Errorf("Linux %s: %s, by %s of %q, is only %s: give it a rule in catalogue.toml, or list it in testdata/senders.toml", kernel, s.caller, s.primitive, function, id)
				case isGeneral:
					named[s.caller] = true
				}
			}
		}
	}
	for caller := range why {
		if !named[caller] {
			t.Errorf("%s is listed as general, but has a cause or is in no kernel", caller)
		}
	}
	for caller := range runs {
		if !senders[caller] {
			t.Errorf("%s is listed with what it has others run, but is in no kernel", caller)
		}
	}
}

// functions returns what a sender has others run, "" if that is not known or matters not.
func (s sender) functions(runs map[string][]string, none []string) []string {
	if f := runs[s.caller]; f != nil {
		return f
	}
	loaded := slices.DeleteFunc(slices.Clone(s.loaded), func(f string) bool { return slices.Contains(none, f) })
	if w := ways()[s.primitive]; (w == callsFunction || w == queuesWork) && len(loaded) > 0 {
		return loaded
	}
	return []string{""}
}

// addresses numbers functions.
type addresses map[uint64]string

func (a addresses) Function(addr uint64) string { return a[addr] }
func (addresses) Syscall(int) string            { return "" }
func (addresses) Device(int) string             { return "" }

func (a addresses) add(function string) uint64 {
	addr := uint64(len(a) + 1)
	a[addr] = function
	return addr
}

// nameOf names the stay that a sender causes.
func nameOf(c *cause.Catalogue, w way, from sender, function string) string {
	names := make(addresses)
	stack := []uint64{names.add(from.primitive), names.add(from.caller)}
	by := func(k event.Kind, called uint64) []event.Event {
		return []event.Event{{Kind: k, B: called, Sender: &event.Sender{Stack: stack}}}
	}
	call := func(function string) stay.Stay {
		f := names.add(function)
		return began(event.CallFunctionEnter, nil, stay.Part{Event: event.Event{Kind: event.CSDEnter, A: f}, Senders: by(event.SendCall, f)})
	}
	switchTo := func(task string) stay.Part {
		return stay.Part{Event: event.Event{Kind: event.Switch, Task: &event.Task{TID: 7, PID: 7, Name: task, Kernel: true}}, Senders: by(event.SendWake, 0)}
	}
	var s stay.Stay
	switch w {
	case callsFunction, callsLater:
		s = call(function)
	case patches:
		s = call("do_sync_core")
	case kicksTick:
		s = call("nohz_full_kick_func")
	case asksRCU:
		s = call("rcu_exp_handler")
	case reschedules:
		s = began(event.RescheduleEnter, by(event.SendReschedule, 0))
	case stops:
		s = began(event.RescheduleEnter, by(event.SendReschedule, 0), switchTo("migration/3"))
	case queuesWork:
		work := stay.Part{Event: event.Event{Kind: event.Work, A: names.add(workOf(from.primitive, function))}, Senders: by(event.SendWork, 0)}
		s = began(event.RescheduleEnter, by(event.SendReschedule, 0), switchTo("kworker/3:1"), work)
	case sendsNMI:
		s = stay.Stay{Entry: event.Event{Kind: event.NMI, A: names.add("nmi_cpu_backtrace_handler")}}
		s.Inside = []stay.Part{{Event: s.Entry}}
	}
	return c.Of(&s, names).ID
}

// workOf returns the work item by which a primitive has a function run.
func workOf(primitive, function string) string {
	switch primitive {
	case "schedule_on_each_cpu":
		return function
	case "smp_call_on_cpu":
		return "smp_call_on_cpu_callback"
	default:
		return "work_for_cpu_fn"
	}
}

// began is a stay that an interrupt began.
func began(k event.Kind, senders []event.Event, then ...stay.Part) stay.Stay {
	entry := event.Event{Kind: k, Time: time.Microsecond}
	return stay.Stay{Entry: entry, Inside: append([]stay.Part{{Event: entry, Senders: senders}}, then...)}
}
