// SPDX-License-Identifier: Apache-2.0

package taskiso

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"runtime/metrics"
	"strings"

	"github.com/taskiso/taskiso/cpulist"
)

// Problems returns what will break the isolation of a goroutine of this program
// on a CPU, each with the next step; nothing if no problem is known. It
// looks at Go's settings and at files below /sys that everybody may read.
func Problems(cpu int) []string {
	problems := goProblems(os.Getenv("GODEBUG"), gcPercent(), runtime.GOMAXPROCS(0))
	return append(problems, cpuProblems(os.DirFS("/sys/devices/system/cpu"), cpu)...)
}

// goProblems: of Go 1.26, and of any since 1.14, which brought preemption by signals.
func goProblems(godebug string, gc uint64, procs int) []string {
	var problems []string
	if !contains(godebug, "asyncpreemptoff=1") {
		problems = append(problems, "Go's scheduler signals a goroutine that runs for 10 ms: set GODEBUG=asyncpreemptoff=1 in the environment")
	}
	if gc != gcOff {
		problems = append(problems, "a garbage collection makes the goroutine wait: call debug.SetGCPercent(-1) and allocate little, or runtime.GC() while it is not isolated")
	}
	if procs < 2 {
		problems = append(problems, "the rest of the program needs a processor beside that of the isolated goroutine: raise GOMAXPROCS")
	}
	return problems
}

func contains(godebug, setting string) bool {
	for s := range strings.SplitSeq(godebug, ",") {
		if s == setting {
			return true
		}
	}
	return false
}

// gcOff is what the metric shows after debug.SetGCPercent(-1).
const gcOff = ^uint64(0)

func gcPercent() uint64 {
	sample := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0 // unknown to this version of Go: it may be on
	}
	return sample[0].Value.Uint64()
}

func cpuProblems(cpus fs.FS, cpu int) []string {
	var problems []string
	for _, file := range []struct{ name, without string }{
		{"nohz_full", "the tick interrupts it: boot with nohz_full=%d"},
		{"isolated", "other tasks may run there: boot with isolcpus=domain,managed_irq,%d, or make an isolated cpuset partition"},
	} {
		set, err := readSet(cpus, file.name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, fmt.Sprintf("whether CPU %d is %s is not known: %v", cpu, file.name, err))
		} else if !set.Contains(cpu) {
			problems = append(problems, fmt.Sprintf("CPU %d is not %s: "+file.without, cpu, file.name, cpu))
		}
	}
	return problems
}

func readSet(cpus fs.FS, name string) (cpulist.Set, error) {
	text, err := fs.ReadFile(cpus, name)
	if err != nil {
		return cpulist.Set{}, err
	}
	return cpulist.ParseSysfs(string(text))
}
