// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/topology"
)

// host is the machine that a plan is for.
type host struct {
	files                  fs.FS
	online, possible       cpulist.Set
	bootIsolated, nohzFull cpulist.Set
	cpus, housekeeping     cpulist.Set // as the spec wants them
	siblings               cpulist.Set // hardware threads of all cores with an isolated CPU
	taken                  cpulist.Set // by other partitions
	spec                   Spec
}

var (
	// errLacking means that the machine has no such setting.
	errLacking = errors.New("not on this machine")
	// errLeft means that it is changed only on request.
	errLeft = errors.New("only on request")
	// errTaken means that the machine has it, but others have taken it.
	errTaken = errors.New("not available here")
	// errNeedless means that the machine has it, but it would change nothing.
	errNeedless = errors.New("not needed")
)

// readHost reads what a spec is about; taken are the CPUs of other partitions.
func readHost(spec Spec, files fs.FS, taken cpulist.Set) (*host, error) {
	h := &host{files: files, spec: spec, taken: taken}
	var err error
	if h.online, err = topology.Online(files); err != nil {
		return nil, err
	}
	if h.possible, err = topology.Possible(files); err != nil {
		return nil, err
	}
	// Kernels without these features have no such file and no such CPUs.
	if h.bootIsolated, err = topology.Isolated(files); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if h.nohzFull, err = topology.NohzFull(files); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if h.cpus, err = h.parseCPUs("cpus", spec.CPUs); err != nil {
		return nil, err
	}
	h.siblings = h.threadsOfCores()
	return h, h.chooseHousekeeping()
}

// threadsOfCores returns the hardware threads of all cores with an isolated CPU.
// A machine that does not say has none.
func (h *host) threadsOfCores() cpulist.Set {
	all := h.cpus
	for cpu := range h.cpus.All() {
		if threads, err := topology.Siblings(h.files, cpu); err == nil {
			all = all.Union(threads)
		}
	}
	return all
}

func (h *host) parseCPUs(what, text string) (cpulist.Set, error) {
	if text == "" {
		return cpulist.Set{}, wrong("%s: no CPU given: name them with -c 2-3, or cpus = \"2-3\" in the spec", what)
	}
	last, _ := h.possible.Last()
	set, err := cpulist.ParseMax(text, last)
	if err != nil {
		return cpulist.Set{}, wrong("%s: %w (this machine has CPU %v)", what, err, h.possible)
	}
	if unknown := set.Minus(h.possible); !unknown.IsEmpty() {
		return cpulist.Set{}, wrong("%s: CPU %v: this machine has only CPU %v", what, unknown, h.possible)
	}
	if offline := set.Minus(h.online); !offline.IsEmpty() {
		return cpulist.Set{}, wrong("%s: CPU %v is offline", what, offline)
	}
	return set, nil
}

func (h *host) chooseHousekeeping() error {
	rest := h.online.Minus(h.cpus)
	if rest.IsEmpty() {
		return wrong("CPU %v are all this machine has: one must be left for the rest of the system", h.cpus)
	}
	if h.spec.Siblings == Offline {
		rest = rest.Minus(h.siblings)
	}
	if rest = rest.Minus(h.taken); rest.IsEmpty() {
		return wrong("CPU %v are all that no other partition has, or its cores: one must be left for the rest of the system", h.cpus)
	}
	if h.spec.Housekeeping == "" {
		h.housekeeping = rest.Minus(h.bootIsolated).Minus(h.nohzFull)
		if h.housekeeping.IsEmpty() {
			h.housekeeping = rest
		}
		return nil
	}
	chosen, err := h.parseCPUs("housekeeping", h.spec.Housekeeping)
	if err != nil {
		return err
	}
	if both := chosen.Intersect(h.cpus); !both.IsEmpty() {
		return wrong("CPU %v cannot both be isolated and do housekeeping", both)
	}
	if theirs := chosen.Intersect(h.taken); !theirs.IsEmpty() {
		return wrong("CPU %v cannot do housekeeping: another partition has them", theirs)
	}
	h.housekeeping = chosen
	return nil
}

// valueReader is a file system that knows files of a single value, and gives one
// and its mode at once.
type valueReader interface {
	ReadValue(name string) ([]byte, error)
	ReadValueMode(name string) ([]byte, fs.FileMode, error)
}

// read returns the value in a file.
func (h *host) read(path string) (string, error) {
	content, err := h.readValue(strings.TrimPrefix(path, "/"))
	if err != nil {
		return "", readError(path, err)
	}
	return strings.TrimSpace(string(content)), nil
}

func (h *host) readValue(name string) ([]byte, error) {
	if files, ok := h.files.(valueReader); ok {
		return files.ReadValue(name)
	}
	text, _, err := h.readMode(name)
	return text, err
}

// readWritable returns also whether the mode of the file lets root write it.
func (h *host) readWritable(path string) (text string, writable bool, err error) {
	content, mode, err := h.readMode(strings.TrimPrefix(path, "/"))
	if err != nil {
		return "", false, readError(path, err)
	}
	return strings.TrimSpace(string(content)), mode&0o200 != 0, nil
}

func (h *host) readMode(name string) ([]byte, fs.FileMode, error) {
	if files, ok := h.files.(valueReader); ok {
		return files.ReadValueMode(name)
	}
	file, err := h.files.Open(name)
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, 0, err
	}
	content, err := io.ReadAll(file) // not fs.ReadFile: it begins with one byte, and sysctls give no more then
	return content, info.Mode().Perm(), err
}

func readError(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no %s: %w", path, errLacking)
	}
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		err = pathError.Err
	}
	return fmt.Errorf("reading %s: %w", path, err)
}

func (h *host) exists(path string) bool {
	_, err := fs.Stat(h.files, strings.TrimPrefix(path, "/"))
	return err == nil
}

// glob returns the paths that match, in the order of [fs.Glob], absolute.
func (h *host) glob(pattern string) ([]string, error) {
	paths, err := fs.Glob(h.files, strings.TrimPrefix(pattern, "/"))
	if err != nil {
		return nil, fmt.Errorf("looking for %s: %w", pattern, err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no %s: %w", pattern, errLacking)
	}
	for i, path := range paths {
		paths[i] = "/" + path
	}
	return paths, nil
}

// keepOff returns the change that takes isolated CPUs out of the set in a file,
// or none if there are none in it. An empty rest becomes instead.
func (h *host) keepOff(path string, form Form, instead cpulist.Set) ([]Change, error) {
	text, err := h.read(path)
	if err != nil {
		return nil, err
	}
	return h.without(path, text, form, instead)
}

func (h *host) without(path, text string, form Form, instead cpulist.Set) ([]Change, error) {
	parse, print := cpulist.ParseSysfs, cpulist.Set.String
	if form == Mask {
		parse, print = cpulist.ParseMask, cpulist.Set.Mask
	}
	set, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if set.Intersect(h.cpus).IsEmpty() {
		return nil, nil
	}
	rest := set.Minus(h.cpus)
	if rest.Intersect(h.online).IsEmpty() {
		rest = instead
	}
	return []Change{{Path: path, From: text, To: print(rest), Form: form}}, nil
}

// set returns the change to a value, or none if it is there already.
func (h *host) set(path string, form Form, value string) ([]Change, error) {
	text, err := h.read(path)
	if err != nil {
		return nil, err
	}
	if form.same(text, value) {
		return nil, nil
	}
	return []Change{{Path: path, From: form.value(text), To: value, Form: form}}, nil
}
