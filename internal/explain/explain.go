// SPDX-License-Identifier: Apache-2.0

// Package explain explains causes, and those of a saved report, with the remedies that apply on this machine.
package explain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/cause"
	"github.com/taskiso/taskiso/internal/noise"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/topology"
)

// Explainer explains causes on one machine.
type Explainer struct {
	catalogue *cause.Catalogue
	files     fs.FS
	machine   *cause.Machine
	read      report.Reader
}

// Answer is an explanation: as text, or as JSON by its fields.
type Answer interface{ Text() string }

// List is the list of all causes.
type List struct {
	Schema int         `json:"schema"`
	Causes []cause.Row `json:"causes"`
}

// New returns one for the machine that files show, which reads reports by read.
func New(catalogue *cause.Catalogue, files fs.FS, read report.Reader) *Explainer {
	return &Explainer{catalogue, files, cause.NewMachine(files), read}
}

// Of explains the cause of that id, or else the causes in the file of that name; the file of Stdin is read from in. The
// error matches [cause.ErrUnknown] for a word that looks like an id.
func (e *Explainer) Of(what string, in io.Reader) (Answer, error) {
	row, unknown := e.catalogue.Row(what)
	if unknown == nil {
		return e.here(row)
	}
	r, err := e.File(what, in)
	if errors.Is(err, fs.ErrNotExist) && !strings.ContainsAny(what, "./") {
		return nil, unknown
	}
	return r, err
}

// here explains a cause for the CPUs of this machine that are set apart, or else all.
func (e *Explainer) here(row cause.Row) (Answer, error) {
	m, err := topology.ReadMachine(e.files)
	if err != nil {
		return nil, err
	}
	return e.Cause(row, m.SetApartOrAll()), nil
}

// List lists all causes.
func (e *Explainer) List() List { return List{Schema, e.catalogue.Rows()} }

// Schema is the version of the JSON, as report.Schema is for reports.
const Schema = 2

// Cause is a cause with its remedies as they are on this machine.
type Cause struct {
	Schema int `json:"schema"`
	cause.Row
	CPUs     cpulist.Set `json:"cpus"` // that the remedies are judged for
	Remedies []Remedy    `json:"remedies"`
}

// Remedy is a remedy, and whether it applies.
type Remedy struct {
	cause.Remedy
	State cause.State `json:"state"`
}

// Cause explains a cause, with the remedies judged for the CPUs.
func (e *Explainer) Cause(row cause.Row, cpus cpulist.Set) Cause {
	c := Cause{Schema: Schema, Row: row, CPUs: cpus, Remedies: []Remedy{}}
	for _, r := range row.Remedies {
		c.Remedies = append(c.Remedies, Remedy{r, r.State(e.machine, cpus)})
	}
	return c
}

// Report is a saved report, cause by cause.
type Report struct {
	Schema  int         `json:"schema"`
	File    string      `json:"file"`
	Kernel  string      `json:"kernel"`      // on which it was made
	Here    string      `json:"kernel_here"` // on which remedies were judged
	Task    report.Task `json:"task"`
	CPUs    []CPU       `json:"cpus"`
	Limits  []string    `json:"limits"`  // what it could not see
	Unknown []string    `json:"unknown"` // ids that this program does not know
}

// CPU is one in a report.
type CPU struct {
	CPU     int    `json:"cpu"`
	Verdict string `json:"verdict,omitempty"`
	Breaks  uint64 `json:"breaks"`
	Causes  []Seen `json:"causes"`
}

// Seen is a cause that was seen. Explanation is missing for one that
// this program does not know.
type Seen struct {
	Seen        report.Cause `json:"seen"`
	Explanation *Cause       `json:"explanation,omitempty"`
}

// Stdin is the name of standard input, and fromStdin what a report from there is called.
const Stdin, fromStdin = "-", "standard input"

// File explains a saved report of taskiso; that of Stdin is read from in.
func (e *Explainer) File(path string, in io.Reader) (Report, error) {
	if path == Stdin {
		path = fromStdin
	} else {
		f, err := os.Open(path)
		if err != nil {
			return Report{}, fmt.Errorf("reading a report: %w", err)
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			return e.report(path, f)
		}
		in = f
	}
	text, err := io.ReadAll(in)
	if err != nil {
		return Report{}, fmt.Errorf("reading a report: %w", err)
	}
	return e.report(path, bytes.NewReader(text))
}

// report reads twice what turns out to be a report of noise.
func (e *Explainer) report(file string, in io.ReadSeeker) (Report, error) {
	r, err := e.read(in)
	if errors.Is(err, report.ErrNoise) {
		r, err = readNoise(in)
	}
	if err != nil {
		return Report{}, fmt.Errorf("reading %s: %w", file, err)
	}
	out := Report{
		Schema: Schema, File: file, Kernel: r.Host.Kernel, Here: topology.KernelRelease(), Task: r.Task, Limits: r.Limits,
		CPUs: []CPU{}, Unknown: []string{},
	}
	for _, cpu := range r.CPUs {
		if err := e.cpu(&out, cpu); err != nil {
			return Report{}, fmt.Errorf("reading %s: %w", file, err)
		}
	}
	return out, nil
}

// readNoise returns the causes in a report of taskiso noise: gaps are its breaks.
func readNoise(in io.ReadSeeker) (*report.Report, error) {
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	var n noise.Report
	if err := json.NewDecoder(in).Decode(&n); err != nil {
		return nil, report.ErrNotReport
	}
	r := &report.Report{Host: report.Host{Host: topology.Host{Kernel: n.Host.Kernel}}, Task: report.Task{Kind: "noise"}, Limits: n.Limits}
	for _, c := range n.CPUs {
		cpu := report.CPU{CPU: c.CPU, Breaks: c.Gaps}
		for _, cause := range c.Causes {
			cpu.Causes = append(cpu.Causes, report.Cause{
				ID: cause.ID, Title: cause.Title, Detail: cause.Detail, Count: cause.Count, Total: cause.Total, Max: cause.Max,
			})
		}
		r.CPUs = append(r.CPUs, cpu)
	}
	return r, nil
}

func (e *Explainer) cpu(out *Report, cpu report.CPU) error {
	set, err := cpulist.New(cpu.CPU)
	if err != nil {
		return err
	}
	explained := CPU{CPU: cpu.CPU, Verdict: cpu.Verdict, Breaks: cpu.Breaks, Causes: []Seen{}}
	for _, seen := range cpu.Causes {
		row, err := e.catalogue.Row(seen.ID)
		if err != nil {
			out.Unknown = append(out.Unknown, seen.ID)
			explained.Causes = append(explained.Causes, Seen{Seen: seen})
			continue
		}
		c := e.Cause(row, set)
		explained.Causes = append(explained.Causes, Seen{seen, &c})
	}
	out.CPUs = append(out.CPUs, explained)
	return nil
}
