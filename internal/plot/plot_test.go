// SPDX-License-Identifier: Apache-2.0

package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"
)

// elements returns the start tags of an SVG, or fails if it is no XML.
func elements(t *testing.T, svg io.Reader) []xml.StartElement {
	t.Helper()
	var found []xml.StartElement
	for d := xml.NewDecoder(svg); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, ok := token.(xml.StartElement); ok {
			found = append(found, start.Copy())
		}
	}
}

func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func TestLines(t *testing.T) {
	number := func(v float64) string { return fmt.Sprintf("%g", v) }
	c := Lines{Title: "a < b", XLabel: Duration, YLabel: number, Lines: []Line{
		{Name: "CPU 0", X: []float64{1e3, 1e4, 1e6}, Y: []float64{100, 10, 0}}, // 0 has no place
		{Name: "points", X: []float64{1e3, 1e4}, Y: []float64{100, 10}, Points: true},
		{Name: "empty"},
	}}
	var b bytes.Buffer
	if err := c.WriteSVG(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a &lt; b", ">1 µs<", ">1 ms<", ">CPU 0<", ">empty<"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in %s", want, b.String())
		}
	}
	var paths []string
	marks := 0
	for _, e := range elements(t, &b) {
		if e.Name.Local == "circle" {
			marks++
		}
		if e.Name.Local == "path" {
			paths = append(paths, attribute(e, "d"))
		}
	}
	// A third of the way along three decades of X; all of the way down one decade of Y.
	want := fmt.Sprintf("M%d.0 %d.0V%d.0H%.1f", left, top, top+plotHeight, left+float64(width-left-right)/3)
	straight := fmt.Sprintf("M%d.0 %d.0L%.1f %d.0", left, top, left+float64(width-left-right)/3, top+plotHeight)
	if len(paths) != 3 || paths[0] != want || paths[1] != straight || paths[2] != "" {
		t.Errorf("paths %q, want %q and %q", paths, want, straight)
	}
	if marks != 2 {
		t.Errorf("%d marks, want 2", marks)
	}
}

func TestScale(t *testing.T) {
	for _, tc := range []struct {
		values    []float64
		low, high float64
	}{
		{[]float64{1500, 0, 20e3}, 3, 5},
		{[]float64{1000}, 3, 4},
		{nil, 0, 1},
		{[]float64{0, -1}, 0, 1},
	} {
		if s := newScale([][]float64{tc.values}, 0, 100); s.low != tc.low || s.high != tc.high || math.IsNaN(s.at(5)) {
			t.Errorf("scale of %v is %+v", tc.values, s)
		}
	}
}

func TestBars(t *testing.T) {
	c := Bars{Bars: []Bar{{Name: "ours", Value: 1, Label: "one", Ours: true}, {Name: "peer", Value: 4}, {Name: "below", Value: -1}}}
	var b bytes.Buffer
	if err := c.WriteSVG(&b); err != nil {
		t.Fatal(err)
	}
	var widths []float64
	for _, e := range elements(t, &b) {
		if e.Name.Local == "rect" && attribute(e, "x") != "" {
			v, _ := strconv.ParseFloat(attribute(e, "width"), 64)
			widths = append(widths, v)
		}
	}
	if len(widths) != 3 || math.Abs(widths[1]/widths[0]-4) > 0.01 || widths[2] != 1 {
		t.Errorf("widths %v", widths)
	}
}

func TestDuration(t *testing.T) {
	for ns, want := range map[float64]string{1: "1 ns", 1e3: "1 µs", 1e8: "100 ms", 1e10: "10 s"} {
		if got := Duration(ns); got != want {
			t.Errorf("%g ns: %q, want %q", ns, got, want)
		}
	}
}
