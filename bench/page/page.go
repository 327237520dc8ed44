// SPDX-License-Identifier: Apache-2.0

// Package page makes docs/benchmarks*.md and their figures of docs/bench/*.json and
// docs/bench/*.tmpl: "make benchmarks".
package page

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/taskiso/taskiso/bench/results"
)

// Define adds the flags of the subcommand and returns what it does.
func Define(flags *flag.FlagSet) func() error {
	docs := flags.String("docs", "docs", "`DIRECTORY` of the documentation")
	return func() error { return write(*docs) }
}

func write(docs string) error {
	pages, err := render(docs)
	if err != nil {
		return err
	}
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(docs, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// source is the data under a directory of documentation.
type source struct{ docs string }

// render returns the files that are made of the data, by their names in docs.
func render(docs string) (map[string][]byte, error) {
	s := source{docs}
	files := make(map[string][]byte)
	for _, name := range []string{"benchmarks.md", "benchmarks-deferral.md", "benchmarks-pagefault.md"} {
		text, err := s.page(name)
		if err != nil {
			return nil, err
		}
		files[name] = text
	}
	for name, draw := range map[string]func() (figure, error){
		"bench/observers.svg": s.observers,
		"bench/silence.svg":   s.silence,
		"bench/noise.svg":     s.noise,
	} {
		f, err := draw()
		if err != nil {
			return nil, fmt.Errorf("drawing %s: %w", name, err)
		}
		var b bytes.Buffer
		if err := f.WriteSVG(&b); err != nil {
			return nil, fmt.Errorf("drawing %s: %w", name, err)
		}
		files[name] = b.Bytes()
	}
	return files, nil
}

// Package page makes a page of its template.
func (s source) page(name string) ([]byte, error) {
	file := "bench/" + name + ".tmpl"
	page, err := template.New(filepath.Base(file)).Funcs(template.FuncMap{
		"about": s.about, "table": s.table, "agreement": s.agreement, "goal": s.goal,
		"operations": s.operations, "scale": s.scale,
	}).ParseFiles(filepath.Join(s.docs, file))
	if err != nil {
		return nil, fmt.Errorf("reading the template of %s: %w", name, err)
	}
	var b bytes.Buffer
	if err := page.Execute(&b, nil); err != nil {
		return nil, fmt.Errorf("making %s: %w", name, err)
	}
	return b.Bytes(), nil
}

func (s source) read(name string) (*results.File, error) {
	return results.Read(filepath.Join(s.docs, "bench", name+".json"))
}

func (s source) readTable(file, table string) (*results.Table, error) {
	f, err := s.read(file)
	if err != nil {
		return nil, err
	}
	return f.Table(table)
}

// about says how and where something was measured.
func (s source) about(name string) (string, error) {
	f, err := s.read(name)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "    %s\n\n%s; %s; %s.", f.Command, f.Machine, f.Date, f.Busy)
	var versions []string
	for _, p := range slices.Sorted(maps.Keys(f.Peers)) {
		versions = append(versions, p+" "+f.Peers[p])
	}
	if len(versions) > 0 {
		fmt.Fprintf(&b, " Peers: %s.", strings.Join(versions, ", "))
	}
	for _, what := range slices.Sorted(maps.Keys(f.Missing)) {
		fmt.Fprintf(&b, " Not measured: %s (%s).", what, strings.Join(strings.Fields(f.Missing[what]), " "))
	}
	fmt.Fprintf(&b, " [Data](bench/%s.json)", name)
	if !f.Raw {
		b.WriteString(", of which only medians have been kept")
	}
	return b.String() + ".", nil
}

func (s source) table(file, table string) (string, error) {
	t, err := s.readTable(file, table)
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(t.Markdown(), "\n"), nil
}

// agreement says in which columns a row's median is outside of what a peer's rounds
// vary by.
func (s source) agreement(file, table, row, peer string) (string, error) {
	t, err := s.readTable(file, table)
	if err != nil {
		return "", err
	}
	outside, err := t.Outside(row, peer)
	if err != nil {
		return "", err
	}
	if len(outside) == 0 {
		return fmt.Sprintf("%s: the median is within what rounds of %s vary by, for all %d lengths", row, peer, len(t.Columns)), nil
	}
	return fmt.Sprintf("%s: the median is outside of what rounds of %s vary by for %s, and within it for %d lengths",
		row, peer, strings.Join(outside, ", "), len(t.Columns)-len(outside)), nil
}

// goal says whether a row's ratio to the table's base, in its first column, is at most
// most.
func (s source) goal(file, table, row string, most float64) (string, error) {
	t, err := s.readTable(file, table)
	if err != nil {
		return "", err
	}
	if t.Base == "" {
		return "not known from this run: no peer recorded enough, or none cost more than the method is wrong by", nil
	}
	ratio, err := t.Ratio(row)
	if err != nil {
		return "", err
	}
	if math.IsNaN(ratio) {
		return fmt.Sprintf("not known from this run: %s cost nothing in it", t.Base), nil
	}
	verdict := "missed"
	if ratio <= most {
		verdict = "met"
	}
	return fmt.Sprintf("%s here: %s of %s, goal %s", verdict, results.Number(ratio), t.Base, results.Number(most)), nil
}

// figure is a chart.
type figure interface {
	WriteSVG(w io.Writer) error
}
