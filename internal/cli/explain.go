// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/cause"
	"github.com/taskiso/taskiso/internal/report"
)

func (p *program) explainCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "explain [ID | FILE]",
		Short: "Say what a cause is and what removes it",
		Long: `explain lists the causes that taskiso knows. With an ID it explains one of them,
with a FILE that "taskiso run --report FILE" has written those of a report, and
says which remedies apply on this machine.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return p.explain(args, asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (p *program) explain(args []string, asJSON bool) error {
	catalogue, err := cause.Load()
	if err != nil {
		return err
	}
	e := &explainer{catalogue, cause.NewMachine(p.files.View())}
	what, err := p.explanation(e, args)
	if err != nil {
		return err
	}
	if asJSON {
		out := json.NewEncoder(p.stdout)
		out.SetIndent("", "  ")
		out.SetEscapeHTML(false)
		err = out.Encode(what)
	} else {
		_, err = p.stdout.Write([]byte(what.text()))
	}
	if err != nil {
		return fmt.Errorf("writing the explanation: %w", err)
	}
	return nil
}

// explanation is what explain prints, as text or as JSON.
type explanation interface{ text() string }

func (p *program) explanation(e *explainer, args []string) (explanation, error) {
	if len(args) == 0 {
		return e.list(), nil
	}
	row, err := e.catalogue.Row(args[0])
	if err == nil {
		m, err := readMachine(p.files.View())
		if err != nil {
			return nil, err
		}
		return e.explained(row, m.isolatedOrAll()), nil
	}
	if _, statErr := os.Stat(args[0]); errors.Is(statErr, fs.ErrNotExist) && !strings.ContainsAny(args[0], "./") {
		return nil, usageError("%w%s; \"taskiso explain\" lists all", err, didYouMean(e.catalogue.Near(args[0])))
	}
	return e.file(args[0])
}

func didYouMean(ids []string) string {
	if len(ids) == 0 {
		return ""
	}
	return "; did you mean " + strings.Join(ids, " or ") + "?"
}

// isolatedOrAll returns the CPUs that remedies are for.
func (m machine) isolatedOrAll() cpulist.Set {
	if quiet := m.online.Intersect(m.isolated.Union(m.nohzFull)); !quiet.IsEmpty() {
		return quiet
	}
	return m.online
}

// explainer says what causes are on one machine.
type explainer struct {
	catalogue *cause.Catalogue
	machine   *cause.Machine
}

// causeList is the list of all causes.
type causeList struct {
	Schema int         `json:"schema"`
	Causes []cause.Row `json:"causes"`
}

func (e *explainer) list() causeList { return causeList{explainSchema, e.catalogue.Rows()} }

// explainSchema is the version of the JSON, as report.Schema is for reports.
const explainSchema = 1

// explainedCause is a cause with its remedies as they are on this machine.
type explainedCause struct {
	Schema int `json:"schema"`
	cause.Row
	CPUs     cpulist.Set       `json:"cpus"` // that the remedies are judged for
	Remedies []explainedRemedy `json:"remedies"`
}

type explainedRemedy struct {
	cause.Remedy
	State cause.State `json:"state"`
}

func (e *explainer) explained(row cause.Row, cpus cpulist.Set) explainedCause {
	c := explainedCause{Schema: explainSchema, Row: row, CPUs: cpus, Remedies: []explainedRemedy{}}
	for _, r := range row.Remedies {
		c.Remedies = append(c.Remedies, explainedRemedy{r, r.State(e.machine, cpus)})
	}
	return c
}

// explainedReport is a saved report, cause by cause.
type explainedReport struct {
	Schema  int            `json:"schema"`
	File    string         `json:"file"`
	Kernel  string         `json:"kernel"`      // on which it was made
	Here    string         `json:"kernel_here"` // on which remedies were judged
	Task    report.Task    `json:"task"`
	CPUs    []explainedCPU `json:"cpus"`
	Unknown []string       `json:"unknown"` // ids that this program does not know
}

type explainedCPU struct {
	CPU     int             `json:"cpu"`
	Verdict string          `json:"verdict"`
	Breaks  uint64          `json:"breaks"`
	Causes  []explainedSeen `json:"causes"`
}

// explainedSeen is a cause that was seen. Explanation is missing for one that
// this program does not know.
type explainedSeen struct {
	Seen        report.Cause    `json:"seen"`
	Explanation *explainedCause `json:"explanation,omitempty"`
}

func (e *explainer) file(path string) (explanation, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading a report: %w", err)
	}
	defer f.Close()
	r, err := report.Read(f)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	out := explainedReport{
		Schema: explainSchema, File: path, Kernel: r.Host.Kernel, Here: kernelRelease(), Task: r.Task,
		CPUs: []explainedCPU{}, Unknown: []string{},
	}
	for _, cpu := range r.CPUs {
		if err := e.cpu(&out, cpu); err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
	}
	return out, nil
}

func (e *explainer) cpu(out *explainedReport, cpu report.CPU) error {
	set, err := cpulist.New(cpu.CPU)
	if err != nil {
		return err
	}
	explained := explainedCPU{CPU: cpu.CPU, Verdict: cpu.Verdict, Breaks: cpu.Breaks, Causes: []explainedSeen{}}
	for _, seen := range cpu.Causes {
		row, err := e.catalogue.Row(seen.ID)
		if err != nil {
			out.Unknown = append(out.Unknown, seen.ID)
			explained.Causes = append(explained.Causes, explainedSeen{Seen: seen})
			continue
		}
		c := e.explained(row, set)
		explained.Causes = append(explained.Causes, explainedSeen{seen, &c})
	}
	out.CPUs = append(out.CPUs, explained)
	return nil
}
