// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/printable"
)

// show returns a figure as people read it.
func (f Figure) show(v float64) string {
	switch f {
	case Count:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case PerSecond:
		return strconv.FormatFloat(v, 'g', 3, 64) + "/s"
	case Share:
		return strconv.FormatFloat(v*100, 'g', 3, 64) + " %"
	}
	return display.Span(time.Duration(v))
}

// bound is what a limit asks for.
func (j *Judgement) bound() string {
	if j.Figure == Quiet {
		return "at least " + j.Figure.show(j.Allowed)
	}
	return "at most " + j.Figure.show(j.Allowed)
}

func (j *Judgement) subject() string {
	return fmt.Sprintf("%s: %s on CPU %d", j.Rule, j.Figure.words(), j.CPU)
}

func (f Figure) words() string {
	switch f {
	case Count:
		return "breaks"
	case PerSecond:
		return "breaks per second"
	case Longest:
		return "longest break"
	case Half, P90, P99, P999, P9999:
		return string(f) + " of lengths"
	case Share:
		return "time in breaks"
	}
	return "longest quiet stretch"
}

// outcome is a judgement in one sentence, without what it is about.
func (j *Judgement) outcome() string {
	text := fmt.Sprintf("%s, %s", j.Figure.show(j.Measured), j.bound())
	if j.Verdict == Unknown {
		text += "; not known: " + strings.Join(j.Reasons, "; ")
	}
	return text
}

// Summary is the verdict in one line.
func (r *Result) Summary() string {
	n := map[Verdict]uint64{}
	for _, j := range r.Judgements {
		n[j.Verdict]++
	}
	return fmt.Sprintf("budget %s: of %s %d exceeded, %d unknown, %d met",
		r.Verdict, display.Plural(uint64(len(r.Judgements)), "limit", "limits"), n[Exceeded], n[Unknown], n[Met])
}

// WriteText prints the verdict, and a line for each limit: those that are not met first.
func (r *Result) WriteText(w io.Writer) error {
	if _, err := io.WriteString(w, printable.Line("%s", r.Summary())+"\n"); err != nil {
		return err
	}
	rows := [][]string{{"verdict", "rule", "CPU", "figure", "measured", "limit"}}
	sorted := slices.Clone(r.Judgements)
	slices.SortStableFunc(sorted, worst)
	for _, j := range sorted {
		rows = append(rows, []string{string(j.Verdict), j.Rule, strconv.Itoa(j.CPU), j.Figure.words(), j.Figure.show(j.Measured), j.bound()})
	}
	if err := display.WriteTable(w, rows); err != nil {
		return err
	}
	return r.writeReasons(w, sorted)
}

// writeReasons prints each reason once, however many limits it is behind.
func (r *Result) writeReasons(w io.Writer, sorted []Judgement) error {
	var printed []string
	for _, j := range sorted {
		for _, reason := range j.Reasons {
			if slices.Contains(printed, reason) {
				continue
			}
			if len(printed) == 0 {
				if _, err := fmt.Fprint(w, "\nunknown because\n"); err != nil {
					return err
				}
			}
			printed = append(printed, reason)
			if _, err := io.WriteString(w, printable.Line("  - %s", reason)); err != nil {
				return err
			}
		}
	}
	return nil
}

// WriteAnnotations prints a line for each limit that is not met, in the form of workflow commands of GitHub Actions.
func (r *Result) WriteAnnotations(w io.Writer) error {
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	for _, j := range r.Judgements {
		command := map[Verdict]string{Exceeded: "error", Unknown: "warning"}[j.Verdict]
		if command == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "::%s title=%s::%s\n", command, property.Replace("budget "+string(j.Verdict)+", "+j.subject()), data.Replace(j.outcome())); err != nil {
			return err
		}
	}
	return nil
}

// The form of JUnit's reports that CI systems read.
type (
	junitSuites struct {
		XMLName xml.Name   `xml:"testsuites"`
		Suite   junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Failure *junitProblem `xml:"failure,omitempty"`
		Error   *junitProblem `xml:"error,omitempty"`
	}
	junitProblem struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
	}
)

// WriteJUnit writes a test case for each limit: exceeded is a failure, unknown an error.
func (r *Result) WriteJUnit(w io.Writer) error {
	suite := junitSuite{Name: "taskiso budget", Tests: len(r.Judgements)}
	for _, j := range r.Judgements {
		c := junitCase{Class: strings.Trim("taskiso."+j.Report, "."), Name: j.subject()}
		problem := &junitProblem{Message: j.outcome(), Type: string(j.Verdict)}
		switch j.Verdict {
		case Exceeded:
			suite.Failures++
			c.Failure = problem
		case Unknown:
			suite.Errors++
			c.Error = problem
		}
		suite.Cases = append(suite.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(junitSuites{Suite: suite}); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
