// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/cause"
	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/noise"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/topology"
)

func (p *program) explainCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "explain [ID | FILE | -]",
		Short: "Explain a cause and what removes it",
		Long: `explain lists the causes that taskiso knows. With an ID it explains one of them; with
a FILE that "taskiso run --report FILE" has written (or watch, or noise; "-" is
standard input), those in the report. It shows which remedies apply on this machine.

The exit status is 0; 2 for a wrong command line; 125 if a report cannot be read.`,
		Example: `  taskiso explain tick
  taskiso run -d 10s --report app.json && taskiso explain app.json
  taskiso run --json -d 10s | taskiso explain -`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) < 2 {
				return nil
			}
			return usageError("taskiso explain takes one ID or FILE; see taskiso explain --help")
		},
		ValidArgsFunction: completeCauses,
		RunE:              func(_ *cobra.Command, args []string) error { return p.explain(args, asJSON) },
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
		err = display.JSON(p.stdout, what)
	} else {
		_, err = io.WriteString(p.text(p.stdout), what.text())
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
	if args[0] == stdin {
		return e.file(stdin, os.Stdin)
	}
	row, err := e.catalogue.Row(args[0])
	if err == nil {
		m, err := topology.ReadMachine(p.files.View())
		if err != nil {
			return nil, err
		}
		return e.explained(row, m.SetApartOrAll()), nil
	}
	if _, statErr := os.Stat(args[0]); errors.Is(statErr, fs.ErrNotExist) && !strings.ContainsAny(args[0], "./") {
		return nil, usageError("%w%s; \"taskiso explain\" lists all", err, didYouMean(e.catalogue.Near(args[0])))
	}
	return e.file(args[0], os.Stdin)
}

// completeCauses offers the causes by their IDs, and files.
func completeCauses(_ *cobra.Command, given []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	catalogue, err := cause.Load()
	if len(given) > 0 || err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var ids []cobra.Completion
	for _, row := range catalogue.Rows() {
		ids = append(ids, cobra.CompletionWithDesc(row.ID, row.Title))
	}
	return ids, cobra.ShellCompDirectiveDefault
}

func didYouMean(ids []string) string {
	if len(ids) == 0 {
		return ""
	}
	return ", did you mean " + strings.Join(ids, " or ") + "?"
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
const explainSchema = 2

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
	Limits  []string       `json:"limits"`  // what it could not see
	Unknown []string       `json:"unknown"` // ids that this program does not know
}

type explainedCPU struct {
	CPU     int             `json:"cpu"`
	Verdict string          `json:"verdict,omitempty"`
	Breaks  uint64          `json:"breaks"`
	Causes  []explainedSeen `json:"causes"`
}

// explainedSeen is a cause that was seen. Explanation is missing for one that
// this program does not know.
type explainedSeen struct {
	Seen        report.Cause    `json:"seen"`
	Explanation *explainedCause `json:"explanation,omitempty"`
}

// stdin is the name of standard input, and what a report from there is called.
const stdin, fromStdin = "-", "standard input"

func (e *explainer) file(path string, in io.Reader) (explanation, error) {
	text, err := readAll(path, in)
	if err != nil {
		return nil, fmt.Errorf("reading a report: %w", err)
	}
	if path == stdin {
		path = fromStdin
	}
	r, err := report.Read(bytes.NewReader(text))
	if errors.Is(err, report.ErrNoise) {
		r, err = readNoise(text)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	out := explainedReport{
		Schema: explainSchema, File: path, Kernel: r.Host.Kernel, Here: topology.KernelRelease(), Task: r.Task, Limits: r.Limits,
		CPUs: []explainedCPU{}, Unknown: []string{},
	}
	for _, cpu := range r.CPUs {
		if err := e.cpu(&out, cpu); err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
	}
	return out, nil
}

func readAll(path string, in io.Reader) ([]byte, error) {
	if path == stdin {
		return io.ReadAll(in)
	}
	return os.ReadFile(path)
}

// readNoise returns what a report of taskiso noise says of causes: gaps are its breaks.
func readNoise(text []byte) (*report.Report, error) {
	var n noise.Report
	if err := json.Unmarshal(text, &n); err != nil {
		return nil, report.ErrNotReport
	}
	r := &report.Report{Host: report.Host{Kernel: n.Host.Kernel}, Task: report.Task{Kind: "noise"}, Limits: n.Limits}
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
