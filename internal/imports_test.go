// SPDX-License-Identifier: Apache-2.0

// Package internal_test holds the rules for the code of the whole module, as
// tests: who may import whom, and what every package and file must have. The
// rules are tables; to change the architecture is to change a row and its reason.
package internal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/taskiso/taskiso"

// importRule forbids imports to a group of packages.
//
// Packages of this module are written without its path. A pattern that ends in
// "/..." covers a package and all below it; "..." alone is everything of ours,
// "std" the standard library, "*" any package at all.
type importRule struct {
	of     []string // packages that the rule binds
	except []string // packages of these that it does not bind
	never  []string // what they must not import
	allow  []string // what they may import all the same
	reason string
}

var importRules = []importRule{
	{
		of: []string{"cpulist/..."}, never: []string{"*"}, allow: []string{"std"},
		reason: "a set of numbers must not cost its users a dependency",
	},
	{
		of: []string{module}, never: []string{"..."}, allow: []string{"cpulist/...", "internal/abi", "internal/affinity"},
		reason: "an isolated program must not carry the tracer",
	},
	{
		of: []string{"pagefault/..."}, never: []string{"..."}, allow: []string{"pagefault/...", "internal/clock", "internal/proc"},
		reason: "page-fault notification is useful to programs that want nothing else of ours",
	},
	{
		of: []string{"deferral/..."}, never: []string{"..."}, allow: []string{"deferral/..."},
		reason: "deferral is useful to programs that want nothing else of ours, and its proof covers all of it",
	},
	{
		of: []string{"internal/clock/..."}, never: []string{"..."},
		reason: "who reads the time wants nothing else of ours",
	},
	{
		of: []string{"internal/abi/..."}, never: []string{"*"},
		reason: "both sides of the interface agree on it, and it is nothing but numbers and layouts",
	},
	{
		of: []string{"internal/proc/..."}, never: []string{"..."},
		reason: "what procfs shows of a task is a fact, and whoever needs one wants nothing else of ours",
	},
	{
		of: []string{"internal/signame/..."}, never: []string{"..."},
		reason: "the names of signals are known to the field, not to us",
	},
	{
		of: []string{"internal/flags/..."}, never: []string{"..."}, allow: []string{"internal/printable/..."},
		reason: "how a value is written on a command line does not depend on the command",
	},
	{
		of:     []string{"internal/budget/..."},
		never:  []string{"internal/trace/...", "internal/stay/...", "internal/cause/...", "internal/collect/...", "internal/run/...", "internal/hold"},
		reason: "a budget judges what is in a report, so that a saved one is judged as a new one",
	},
	{
		of:     []string{"internal/compare/..."},
		never:  []string{"internal/trace/...", "internal/stay/...", "internal/cause/...", "internal/collect/...", "internal/run/..."},
		reason: "reports are compared, from whichever machine and version they come",
	},
	{
		of: []string{"internal/display/..."}, never: []string{"..."}, allow: []string{"internal/printable"},
		reason: "how things are shown does not depend on what is shown",
	},
	{
		of:     []string{"internal/faults/..."},
		never:  []string{"internal/report/...", "internal/trace/...", "internal/hold/...", "internal/session/..."},
		reason: "page faults are seen without the tracer, and shown without it",
	},
	{
		of:     []string{"internal/record/..."},
		never:  []string{"internal/trace/...", "internal/stay/...", "internal/cause/...", "internal/collect/...", "internal/observe/...", "internal/monitor/...", "internal/run/..."},
		reason: "a recording is what was seen, before anything is made of it",
	},
	{
		of:     []string{"internal/flight/..."},
		never:  []string{"internal/trace/...", "internal/stay/...", "internal/collect/...", "internal/observe/...", "internal/run/..."},
		reason: "when a snapshot is kept, and where, does not depend on how anything is observed",
	},
	{
		of:     []string{"internal/noise/..."},
		never:  []string{"internal/report/...", "internal/trace/...", "internal/cause/...", "internal/hold/...", "internal/session/..."},
		reason: "gaps are measured without the tracer, and shown without it",
	},
	{
		of:     []string{"internal/loop/..."},
		never:  []string{"internal/run/...", "internal/observe/...", "internal/hold/...", "internal/session/..."},
		reason: "the busy loop is a program that others observe",
	},
	{
		of: []string{"..."}, except: []string{"internal/cli/...", "internal/run/...", "internal/measure/..."},
		never:  []string{"internal/run/..."},
		reason: "what a command does while a task runs is joined from all else, and nothing below needs it",
	},
	{
		of: []string{"..."}, except: []string{"internal/cli/...", "internal/measure/..."},
		never:  []string{"internal/measure/..."},
		reason: "a measurement is joined from loops and an observation, and nothing below needs it",
	},
	{
		of:    []string{"internal/task/..."},
		never: []string{"..."}, allow: []string{"internal/launch/...", "internal/printable", "internal/signame", "cpulist/..."},
		reason: "how a task is waited for and ended does not depend on what is observed of it",
	},
	{
		of:    []string{"internal/output/..."},
		never: []string{"..."}, allow: []string{"internal/display/..."},
		reason: "where something is printed does not depend on what it is",
	},
	{
		of:     []string{"internal/place/..."},
		never:  []string{"internal/run/...", "internal/trace/...", "internal/observe/...", "internal/report/...", "internal/loop/..."},
		reason: "where a command runs is decided before anything is observed",
	},
	{
		of:     []string{"internal/run/...", "internal/measure/...", "internal/faults/...", "internal/task/...", "internal/place/...", "internal/output/...", "internal/explain/..."},
		never:  []string{"github.com/spf13/..."},
		reason: "engines get settings and return verdicts; flags are of the command line",
	},
	{
		of:     []string{"internal/explain/..."},
		never:  []string{"internal/run/...", "internal/trace/...", "internal/observe/...", "internal/hold/...", "internal/session/..."},
		reason: "a saved report is explained on a machine that need not be able to make one",
	},
	{
		of:     []string{"internal/cli/..."},
		never:  []string{"internal/trace/...", "internal/observe/...", "internal/session/...", "internal/seccomp/...", "internal/proc/...", "internal/affinity/...", "internal/clock/...", "internal/topology/..."},
		reason: "the command line is flags, statuses and printing: what is observed and read of tasks is work of engines",
	},
	{
		of: []string{"internal/total/..."}, never: []string{"..."},
		reason: "how totals are kept does not depend on who finds the causes",
	},
	{
		of: []string{"internal/partition/change/..."}, never: []string{"internal/partition/..."}, allow: []string{"internal/partition/thread"},
		reason: "how a value is written and restored does not depend on who plans it",
	},
	{
		of: []string{"internal/partition/thread/..."}, never: []string{"internal/partition/..."},
		reason: "where a thread may run is a fact",
	},
	{
		of: []string{"internal/longest/..."}, never: []string{"..."},
		reason: "what is longest does not depend on what it is",
	},
	{
		of: []string{"internal/affinity/..."}, never: []string{"..."}, allow: []string{"cpulist/..."},
		reason: "an isolated program pins its threads with it",
	},
	{
		of: []string{"..."}, except: []string{"internal/trace/...", "internal/feature", "internal/session/...", "internal/hold/...", "internal/claim"},
		never:  []string{"github.com/cilium/ebpf/..."},
		reason: "every BPF program of ours is found, and its cost known, in these packages",
	},
	{
		of: []string{"..."}, except: []string{"internal/systemd"},
		never:  []string{"github.com/godbus/dbus/..."},
		reason: "what is asked of systemd is found in one package",
	},
	{
		of: []string{"..."}, except: []string{"internal/launch", "internal/vmtest/...", "bench/...", "model/..."}, // not part of taskiso: test tools
		never:  []string{"os/exec"},
		reason: "the only program that taskiso starts is the one it was asked to run",
	},
	{
		of: []string{"..."}, except: []string{"cmd/...", "internal/cli/..."},
		never:  []string{"internal/cli/..."},
		reason: "commands use the packages, never the other way round",
	},
	{
		of: []string{"..."}, except: []string{"internal/vmtest/...", "bench/..."},
		never:  []string{"internal/vmtest/...", "bench/..."},
		reason: "test equipment stays out of the binary",
	},
	{
		of: []string{"..."}, except: []string{"cmd/..."},
		never:  []string{"cmd/..."},
		reason: "a command is not a library",
	},
	{
		of:     []string{"internal/trace/..."},
		never:  []string{"internal/stay/...", "internal/cause/...", "internal/monitor/...", "internal/collect/...", "internal/report/..."},
		reason: "data flows from trace to stay, cause, collect and report, and nothing calls back",
	},
	{
		of: []string{"internal/event/..."}, never: []string{"*"}, allow: []string{"std"},
		reason: "events are data: those that were saved are read where none can be recorded",
	},
	{
		of:     []string{"internal/stay/...", "internal/cause/...", "internal/monitor/...", "internal/collect/..."},
		never:  []string{"internal/trace/..."},
		reason: "what is made of events does not depend on who recorded them",
	},
	{
		of: []string{"internal/stay/..."}, never: []string{"internal/cause/...", "internal/collect/...", "internal/report/..."},
		reason: "data flows from stay to cause, collect and report, and nothing calls back",
	},
	{
		of: []string{"internal/cause/..."}, never: []string{"internal/collect/...", "internal/report/..."},
		reason: "data flows from cause to collect and report, and nothing calls back",
	},
	{
		of: []string{"internal/collect/..."}, never: []string{"internal/monitor/...", "internal/observe/...", "internal/session"},
		reason: "what is summed up does not depend on who observes",
	},
	{
		of: []string{"internal/report/..."},
		never: []string{"internal/trace/...", "internal/stay/...", "internal/cause/...", "internal/collect/...",
			"internal/monitor/...", "internal/observe/...", "internal/session/...", "internal/hold"},
		reason: "a report is data and text: reading and writing one needs nothing that made it",
	},
	{
		of: []string{"internal/hold/operation/..."}, never: []string{"*"}, allow: []string{"std", "cpulist/...", "internal/printable"},
		reason: "what became of an operation is data of reports, which are read and written without what holds",
	},
	{
		of: []string{"internal/session/account/..."}, never: []string{"*"}, allow: []string{"std"},
		reason: "what became of calls is data of reports, which are made without who answers the calls",
	},
	{
		of:     []string{"internal/export/..."},
		never:  []string{"internal/trace/...", "internal/observe/...", "internal/collect/...", "internal/record/...", "internal/run/..."},
		reason: "an export is made of stays and breaks, whoever has seen them",
	},
	{
		of: []string{"internal/perfetto"}, never: []string{"..."},
		reason: "how a trace is written does not depend on what is in it",
	},
	{
		of: []string{"..."}, never: []string{"internal/perfetto/perfettotest"},
		reason: "what reads traces is for tests",
	},
	{
		of: []string{"internal/remedy/..."}, never: []string{"..."},
		reason: "the catalogue and the reports name a remedy alike, and neither needs the other for that",
	},
}

// reachRules forbid packages also behind what a package imports.
var reachRules = []importRule{
	{
		of: []string{"internal/event", "internal/stay", "internal/cause", "internal/monitor", "internal/collect", "internal/report/...", "internal/explain", "internal/budget",
			"internal/compare", "internal/noise", "internal/faults"},
		never:  []string{"github.com/cilium/ebpf/..."},
		reason: "what was saved is read, explained and judged without BPF",
	},
	{
		of:     []string{"internal/faults", "internal/noise"},
		never:  []string{"internal/hold", "internal/session/...", "internal/trace/..."},
		reason: "page faults and gaps are shown without what observes kernel entries",
	},
}

// goPackage is what the rules need of the output of `go list -json`.
type goPackage struct {
	ImportPath string
	Doc        string
	GoFiles    []string
	Imports    []string
}

func TestImportRules(t *testing.T) {
	packages := listPackages(t)
	for _, rule := range importRules {
		for _, problem := range rule.problems(packages) {
			t.Error(problem)
		}
	}
}

func TestReachRules(t *testing.T) {
	packages := listPackages(t)
	for _, rule := range reachRules {
		for _, problem := range rule.problems(reaching(packages)) {
			t.Error(problem)
		}
	}
}

// reaching returns the packages with all that they import, themselves or through packages of ours.
func reaching(packages []goPackage) []goPackage {
	direct := make(map[string][]string)
	for _, p := range packages {
		direct[p.ImportPath] = p.Imports
	}
	var all []goPackage
	for _, p := range packages {
		reached := map[string]bool{p.ImportPath: true}
		p.Imports = nil
		for todo := []string{p.ImportPath}; len(todo) > 0; todo = todo[1:] {
			for _, imported := range direct[todo[0]] {
				if !reached[imported] {
					reached[imported] = true
					todo, p.Imports = append(todo, imported), append(p.Imports, imported)
				}
			}
		}
		all = append(all, p)
	}
	return all
}

func TestReachIsFound(t *testing.T) {
	packages := reaching([]goPackage{
		{ImportPath: module + "/internal/explain", Imports: []string{"os", module + "/internal/cause"}},
		{ImportPath: module + "/internal/cause", Imports: []string{module + "/internal/trace"}},
		{ImportPath: module + "/internal/trace", Imports: []string{"github.com/cilium/ebpf", module + "/internal/cause"}},
	})
	if got := reachRules[0].problems(packages); len(got) != 2 { // of explain and of cause
		t.Errorf("got %q", got)
	}
}

func TestPackageComments(t *testing.T) {
	for _, p := range listPackages(t) {
		if len(p.GoFiles) > 0 && p.Doc == "" {
			t.Errorf("package %s has no package comment", p.name())
		}
	}
}

// listPackages asks the go command, which knows build constraints.
func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Doc,GoFiles,Imports", "./...")
	cmd.Dir = moduleRoot(t)
	cmd.Stderr = t.Output()
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("listing packages: %v", err)
	}
	var packages []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var p goPackage
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		if err != nil {
			t.Fatalf("reading the list of packages: %v", err)
		}
		packages = append(packages, p)
	}
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func (r importRule) problems(packages []goPackage) []string {
	var problems []string
	for _, p := range packages {
		if !matchAny(r.of, p.ImportPath) || matchAny(r.except, p.ImportPath) {
			continue
		}
		for _, imported := range p.Imports {
			if matchAny(r.never, imported) && !matchAny(r.allow, imported) {
				problems = append(problems, fmt.Sprintf("package %s imports %s: %s", p.name(), imported, r.reason))
			}
		}
	}
	return problems
}

func (p goPackage) name() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

func matchAny(patterns []string, importPath string) bool {
	for _, pattern := range patterns {
		if match(pattern, importPath) {
			return true
		}
	}
	return false
}

func match(pattern, importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	isStd := !strings.Contains(first, ".")
	switch pattern {
	case "*":
		return true
	case "std":
		return isStd
	case "...":
		return importPath == module || strings.HasPrefix(importPath, module+"/")
	}
	importPath = strings.TrimPrefix(importPath, module+"/")
	if dir, found := strings.CutSuffix(pattern, "/..."); found {
		return importPath == dir || strings.HasPrefix(importPath, dir+"/")
	}
	return importPath == pattern
}

// TestRulesFind makes sure that the rules above can fail.
func TestRulesFind(t *testing.T) {
	for _, tc := range []struct {
		importer, imported string
		wantProblems       int
	}{
		{"cpulist", "strings", 0},
		{"cpulist", "golang.org/x/sys/unix", 1},
		{"cpulist", module + "/internal/kernfs", 1},
		{"", module + "/internal/trace", 1},
		{"", module + "/cpulist", 0},
		{"pagefault", module + "/cpulist", 1},
		{"pagefault", "golang.org/x/sys/unix", 0},
		{"deferral", module + "/pagefault", 1},
		{"deferral/internal/word", module + "/deferral/internal/other", 0},
		{"internal/stay", "github.com/cilium/ebpf", 1},
		{"internal/stay", "github.com/cilium/ebpf/ringbuf", 1},
		{"internal/trace", "github.com/cilium/ebpf/ringbuf", 0},
		{"internal/tracer", "github.com/cilium/ebpf", 1},
		{"internal/trace", "os/exec", 1},
		{"internal/launch", "os/exec", 0},
		{"internal/cli", "os/exec", 1},
		{"internal/report", module + "/internal/cli", 1},
		{"internal/report", module + "/internal/stay", 1},
		{"internal/report", module + "/internal/collect", 1},
		{"internal/report", module + "/internal/hold", 1},
		{"internal/report", module + "/internal/hold/operation", 0},
		{"internal/hold/operation", module + "/internal/clock", 1},
		{"internal/collect", module + "/internal/report", 0},
		{"internal/stay", module + "/internal/collect", 1},
		{"cmd/taskiso", module + "/internal/cli", 0},
		{"internal/cli", module + "/internal/vmtest", 1},
		{"internal/cli", module + "/cmd/taskiso", 1},
		{"internal/trace", module + "/internal/stay", 1},
		{"internal/trace", module + "/internal/cause", 1},
		{"internal/stay", module + "/internal/trace", 1},
		{"internal/stay", module + "/internal/event", 0},
		{"internal/event", module + "/internal/trace", 1},
		{"internal/event", "github.com/cilium/ebpf", 2},
		{"internal/stay", module + "/internal/report", 1},
		{"internal/cause", module + "/internal/stay", 0},
		{"internal/cause", module + "/internal/report", 1},
	} {
		p := goPackage{ImportPath: strings.TrimSuffix(module+"/"+tc.importer, "/"), Imports: []string{tc.imported}}
		var problems []string
		for _, rule := range importRules {
			problems = append(problems, rule.problems([]goPackage{p})...)
		}
		if len(problems) != tc.wantProblems {
			t.Errorf("%s imports %s: got problems %q, want %d", tc.importer, tc.imported, problems, tc.wantProblems)
		}
	}
}
