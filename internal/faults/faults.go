// SPDX-License-Identifier: Apache-2.0

// Package faults sums up page faults and shows the sum: as text, as JSON and as a
// profile for go tool pprof.
package faults

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/taskiso/taskiso/internal/longest"
	"github.com/taskiso/taskiso/internal/usersym"
	"github.com/taskiso/taskiso/pagefault"
)

// Schema is the version of the JSON report. It is raised when a field changes its
// meaning or goes away.
const Schema = 1

// Report is all that was seen of one target. Times are in nanoseconds.
type Report struct {
	Schema   int           `json:"schema"`
	Version  string        `json:"taskiso"`
	Kernel   string        `json:"kernel"`
	Started  time.Time     `json:"started"`
	Duration time.Duration `json:"duration_ns"`
	Target   Target        `json:"target"`
	// Faults that count: after the warm-up, and if asked for between marks.
	Minor     uint64        `json:"minor"`
	Major     uint64        `json:"major"`
	Time      time.Duration `json:"time_ns"` // spent in them, as far as known
	Before    uint64        `json:"before"`  // during the warm-up
	Unmarked  uint64        `json:"unmarked"`
	Lost      uint64        `json:"lost"`
	Omitted   uint64        `json:"omitted"` // above --max-per-second
	Mappings  []Mapping     `json:"mappings"`
	Locations []Location    `json:"locations"`
	Threads   []Thread      `json:"threads"`
	Histogram []Bucket      `json:"histogram"` // of the time spent, by powers of ten
	Longest   []Fault       `json:"longest"`
	Usage     *Usage        `json:"usage,omitempty"`
	Limits    []string      `json:"limits"`
}

// Usage is what the kernel accounts for a command, from its execve() to its end, with faults in
// kernel mode and those of execve() itself.
type Usage struct {
	Minor int64 `json:"minor"`
	Major int64 `json:"major"`
}

// Target is who was watched.
type Target struct {
	PID     int      `json:"pid,omitempty"`
	TID     int      `json:"tid,omitempty"`
	Command []string `json:"command,omitempty"`
	Status  *int     `json:"status,omitempty"`
}

// Sum counts faults that have something in common.
type Sum struct {
	Minor uint64        `json:"minor"`
	Major uint64        `json:"major"`
	Time  time.Duration `json:"time_ns"`
	Max   time.Duration `json:"max_ns"`
}

// Total returns the number of all faults.
func (s Sum) Total() uint64 { return s.Minor + s.Major }

func (s *Sum) add(f *pagefault.Fault) {
	if f.Major {
		s.Major++
	} else {
		s.Minor++
	}
	s.Time += f.Duration
	s.Max = max(s.Max, f.Duration)
}

// Mapping is the faults in mappings of one file, or of one kind.
type Mapping struct {
	Kind pagefault.MappingKind `json:"kind"`
	Name string                `json:"name"`
	Sum
}

// Location is the faults of one place in code.
type Location struct {
	Function string `json:"function"`
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	Object   string `json:"object,omitempty"`
	Sum
}

// Thread is the faults of one thread.
type Thread struct {
	PID  int    `json:"pid"`
	TID  int    `json:"tid"`
	Name string `json:"name"`
	Sum
}

// Bucket counts faults that lasted from From to below ten times From.
type Bucket struct {
	From  time.Duration `json:"from_ns"`
	Count uint64        `json:"count"`
}

// Fault is one fault in full.
type Fault struct {
	At       time.Duration         `json:"at_ns"`
	PID      int                   `json:"pid"`
	TID      int                   `json:"tid"`
	Thread   string                `json:"thread"`
	Severity string                `json:"severity"`
	Duration time.Duration         `json:"duration_ns"`
	Address  string                `json:"address"`
	Kind     pagefault.MappingKind `json:"kind"`
	Name     string                `json:"name"`
	Offset   uint64                `json:"offset,omitempty"` // in the file
	IP       string                `json:"ip"`
	Function string                `json:"function"`
	File     string                `json:"file,omitempty"`
	Line     int                   `json:"line,omitempty"`
	Object   string                `json:"object,omitempty"`
}

// Collector sums up faults. Its methods are not safe for concurrent use, except that
// faults may be described while others are added.
type Collector struct {
	Begin   time.Duration          // of CLOCK_MONOTONIC; faults before it do not count
	Marked  bool                   // only faults of threads that have declared that they expect none count
	OnFault func(*pagefault.Fault) // called with each fault that counts; may be nil

	symbols   *usersym.Symbols
	profile   *profile
	all       Sum
	before    uint64
	unmarked  uint64
	mappings  map[mappingKey]*Sum
	spots     map[spot]*Sum
	threads   map[threadKey]*Sum
	histogram map[time.Duration]uint64
	longest   []pagefault.Fault // descending
}

type mappingKey struct {
	kind pagefault.MappingKind
	name string
}

type threadKey struct {
	pid, tid int
	name     string
}

// spot is a place in code as the kernel reports it. Names are found at the end:
// files with debug information take long to read, and faults do not wait.
type spot struct {
	kind   pagefault.MappingKind
	name   string
	offset uint64 // in the file
	pid    int    // of code that is in no file, with its address in offset
	kernel bool
}

func spotOf(pid int, ip uint64, code pagefault.Mapping, kernel bool) spot {
	switch {
	case kernel:
		return spot{kernel: true}
	case code.Kind == pagefault.File:
		return spot{kind: code.Kind, name: code.Name, offset: code.FileOffset(ip)}
	}
	return spot{kind: code.Kind, name: code.Name, offset: ip, pid: pid}
}

// place is a location in code with the file it is in.
type place struct {
	usersym.Location
	object string
}

const (
	// maxPlaces bounds what is kept apart: code that is generated all the time
	// would let the report grow without bound.
	maxPlaces    = 100_000
	longestCount = 10
)

// NewCollector returns an empty collector. withProfile keeps stacks for WriteProfile.
func NewCollector(symbols *usersym.Symbols, withProfile bool) *Collector {
	c := &Collector{
		symbols:   symbols,
		mappings:  make(map[mappingKey]*Sum),
		spots:     make(map[spot]*Sum),
		threads:   make(map[threadKey]*Sum),
		histogram: make(map[time.Duration]uint64),
	}
	if withProfile {
		c.profile = newProfile()
	}
	return c
}

// Add takes in one fault.
func (c *Collector) Add(f *pagefault.Fault) {
	switch {
	case f.Time < c.Begin:
		c.before++
		return
	case c.Marked && !f.Marked:
		c.unmarked++
		return
	}
	c.all.add(f)
	sumOf(c.mappings, mappingKey{f.Mapping.Kind, f.Mapping.Name}, mappingKey{name: "others"}).add(f)
	sumOf(c.spots, spotOf(f.PID, f.IP, f.Code, f.Kernel), spot{name: "others"}).add(f)
	sumOf(c.threads, threadKey{f.PID, f.TID, f.Thread}, threadKey{name: "others"}).add(f)
	if f.Duration > 0 {
		c.histogram[decade(f.Duration)]++
	}
	if c.profile != nil {
		c.profile.add(f)
	}
	c.keepLong(f)
	if c.OnFault != nil {
		c.OnFault(f)
	}
}

// Total returns the faults so far that count.
func (c *Collector) Total() Sum { return c.all }

func sumOf[K comparable](sums map[K]*Sum, key, others K) *Sum {
	s, ok := sums[key]
	if !ok && len(sums) >= maxPlaces {
		key = others
		s, ok = sums[key]
	}
	if !ok {
		s = &Sum{}
		sums[key] = s
	}
	return s
}

// decade returns the power of ten of nanoseconds at or below d.
func decade(d time.Duration) time.Duration {
	p := time.Nanosecond
	for d >= 10*p {
		p *= 10
	}
	return p
}

// place names the code at a spot.
func (c *Collector) place(s spot) place {
	switch {
	case s.kernel:
		return place{object: "kernel, for a system call"}
	case s.kind == pagefault.File:
		return place{c.symbols.InFile(s.name, s.offset), s.name}
	case s.pid == 0:
		return place{object: s.name}
	}
	return place{c.symbols.Compiled(s.pid, s.offset), pagefault.Mapping{Kind: s.kind, Name: s.name}.String()}
}

func (c *Collector) keepLong(f *pagefault.Fault) {
	if len(c.longest) == longestCount && f.Duration <= c.longest[longestCount-1].Duration {
		return
	}
	c.longest = longest.Keep(c.longest, *f, longestCount, func(f pagefault.Fault) time.Duration { return f.Duration })
}

// Describe names the code and the mapping of a fault. The first fault in a file can
// take it a second: it reads the debug information.
func (c *Collector) Describe(f *pagefault.Fault) Fault {
	at := c.place(spotOf(f.PID, f.IP, f.Code, f.Kernel))
	d := Fault{
		At: f.Time - c.Begin, PID: f.PID, TID: f.TID, Thread: f.Thread, Severity: f.Severity(), Duration: f.Duration,
		Address: hex(f.Address), Kind: f.Mapping.Kind, Name: f.Mapping.Name, IP: hex(f.IP),
		Function: at.Function, File: at.File, Line: at.Line, Object: at.object,
	}
	if f.Mapping.Kind == pagefault.File {
		d.Offset = f.Mapping.FileOffset(f.Address)
	}
	return d
}

// places returns the sums of spots with the same name together.
func (c *Collector) places() map[place]*Sum {
	places := make(map[place]*Sum)
	for at, sum := range c.spots {
		p := c.place(at)
		if places[p] == nil {
			places[p] = &Sum{}
		}
		places[p].merge(sum)
	}
	return places
}

func (s *Sum) merge(more *Sum) {
	s.Minor += more.Minor
	s.Major += more.Major
	s.Time += more.Time
	s.Max = max(s.Max, more.Max)
}

// Fill writes the sums into r, the largest first.
func (c *Collector) Fill(r *Report) {
	r.Schema = Schema
	r.Minor, r.Major, r.Time = c.all.Minor, c.all.Major, c.all.Time
	r.Before, r.Unmarked = c.before, c.unmarked
	r.Mappings, r.Locations, r.Threads = []Mapping{}, []Location{}, []Thread{}
	for _, k := range largest(c.mappings) {
		r.Mappings = append(r.Mappings, Mapping{k.kind, k.name, *c.mappings[k]})
	}
	places := c.places()
	for _, k := range largest(places) {
		r.Locations = append(r.Locations, Location{k.Function, k.File, k.Line, k.object, *places[k]})
	}
	for _, k := range largest(c.threads) {
		r.Threads = append(r.Threads, Thread{k.pid, k.tid, k.name, *c.threads[k]})
	}
	r.Histogram = []Bucket{}
	for _, from := range slices.Sorted(maps.Keys(c.histogram)) {
		r.Histogram = append(r.Histogram, Bucket{From: from, Count: c.histogram[from]})
	}
	r.Longest = []Fault{}
	for i := range c.longest {
		r.Longest = append(r.Longest, c.Describe(&c.longest[i]))
	}
}

// largest returns the keys with the longest time first, and of those the most often.
func largest[K comparable](sums map[K]*Sum) []K {
	keys := slices.Collect(maps.Keys(sums))
	slices.SortFunc(keys, func(a, b K) int {
		return cmp.Or(cmp.Compare(sums[b].Time, sums[a].Time), cmp.Compare(sums[b].Total(), sums[a].Total()))
	})
	return keys
}
