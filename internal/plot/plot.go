// SPDX-License-Identifier: Apache-2.0

// Package plot draws charts as SVG.
package plot

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"time"
)

// Line is a series of points. It is drawn as steps, where Y holds from the X before, or
// as straight lines between marks if the points are all there is.
type Line struct {
	Name   string
	X, Y   []float64
	Points bool
}

// Lines is a chart with logarithmic axes. What is not above 0 has no place in it.
type Lines struct {
	Title, Subtitle string
	XTitle, YTitle  string
	XLabel, YLabel  func(float64) string // of a power of ten
	Lines           []Line
}

// Sizes in pixels. The legend is below the plot, a line for each series.
const (
	width      = 860
	plotHeight = 380
	left       = 84
	right      = 24
	top        = 64
	axis       = 52 // below the plot
	rowHeight  = 20
)

// colours can be told apart by people who do not see all colours (Okabe and Ito).
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"}

// dashes tell apart the series that have the same colour.
var dashes = []string{"", "6 3", "2 3"}

type drawing struct{ bytes.Buffer }

func (d *drawing) begin(height int, title, subtitle string) {
	fmt.Fprintf(d, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="13" fill="#222">`+"\n", width, height)
	fmt.Fprintf(d, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	d.text(left, 26, "start", title, `font-size="16" font-weight="bold"`)
	d.text(left, 46, "start", subtitle, `fill="#555"`)
}

func (d *drawing) text(x, y float64, anchor, text, attributes string) {
	fmt.Fprintf(d, `<text x="%.1f" y="%.1f" text-anchor="%s" %s>`, x, y, anchor, attributes)
	xml.EscapeText(d, []byte(text)) // a buffer does not fail
	fmt.Fprintln(d, `</text>`)
}

func (d *drawing) line(x1, y1, x2, y2 float64, attributes string) {
	fmt.Fprintf(d, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" %s/>`+"\n", x1, y1, x2, y2, attributes)
}

func (d *drawing) writeTo(w io.Writer) error {
	fmt.Fprintln(d, `</svg>`)
	if _, err := w.Write(d.Bytes()); err != nil {
		return fmt.Errorf("writing a plot: %w", err)
	}
	return nil
}

// scale maps decades to pixels.
type scale struct {
	low, high float64 // powers of ten
	from, to  float64 // pixels
}

// newScale covers all values above 0 with whole decades, one at least.
func newScale(values [][]float64, from, to float64) scale {
	low, high := math.Inf(1), math.Inf(-1)
	for _, vs := range values {
		for _, v := range vs {
			if v > 0 {
				low, high = min(low, v), max(high, v)
			}
		}
	}
	if low > high {
		low, high = 1, 1
	}
	s := scale{math.Floor(math.Log10(low)), math.Ceil(math.Log10(high)), from, to}
	if s.high == s.low {
		s.high++
	}
	return s
}

func (s scale) at(v float64) float64 {
	return s.from + (math.Log10(v)-s.low)/(s.high-s.low)*(s.to-s.from)
}

// decades calls f with each power of ten on the scale.
func (s scale) decades(f func(v, pixel float64)) {
	for e := s.low; e <= s.high; e++ {
		f(math.Pow(10, e), s.at(math.Pow(10, e)))
	}
}

// WriteSVG draws the chart.
func (c *Lines) WriteSVG(w io.Writer) error {
	var xs, ys [][]float64
	for _, l := range c.Lines {
		xs, ys = append(xs, l.X), append(ys, l.Y)
	}
	const bottom = top + plotHeight
	x, y := newScale(xs, left, width-right), newScale(ys, bottom, top)

	var d drawing
	d.begin(bottom+axis+rowHeight*len(c.Lines)+8, c.Title, c.Subtitle)
	const grid = `stroke="#ddd"`
	x.decades(func(v, at float64) {
		d.line(at, top, at, bottom, grid)
		d.text(at, bottom+18, "middle", c.XLabel(v), "")
	})
	y.decades(func(v, at float64) {
		d.line(left, at, width-right, at, grid)
		d.text(left-8, at+4, "end", c.YLabel(v), "")
	})
	d.text((left+width-right)/2, bottom+38, "middle", c.XTitle, `fill="#555"`)
	d.text(-(top+bottom)/2, 18, "middle", c.YTitle, `transform="rotate(-90)" fill="#555"`)
	for i, l := range c.Lines {
		style := fmt.Sprintf(`stroke="%s" stroke-width="2" stroke-dasharray="%s" fill="none"`, colours[i%len(colours)], dashes[i/len(colours)%len(dashes)])
		d.path(l, x, y, style)
		if l.Points {
			d.marks(l, x, y, colours[i%len(colours)])
		}
		at := float64(bottom + axis + rowHeight*i)
		d.line(left, at, left+28, at, style)
		d.text(left+38, at+4, "start", l.Name, "")
	}
	return d.writeTo(w)
}

func (d *drawing) path(l Line, x, y scale, style string) {
	fmt.Fprintf(d, `<path d="`)
	begun := false
	l.each(func(vx, vy float64) {
		switch px, py := x.at(vx), y.at(vy); {
		case !begun:
			fmt.Fprintf(d, "M%.1f %.1f", px, py)
		case l.Points:
			fmt.Fprintf(d, "L%.1f %.1f", px, py)
		default:
			fmt.Fprintf(d, "V%.1fH%.1f", py, px)
		}
		begun = true
	})
	fmt.Fprintf(d, `" %s/>`+"\n", style)
}

func (d *drawing) marks(l Line, x, y scale, colour string) {
	l.each(func(vx, vy float64) {
		fmt.Fprintf(d, `<circle cx="%.1f" cy="%.1f" r="4" fill="%s"/>`+"\n", x.at(vx), y.at(vy), colour)
	})
}

// each calls f with the points that have a place.
func (l *Line) each(f func(x, y float64)) {
	for i := range l.X {
		if l.X[i] > 0 && l.Y[i] > 0 {
			f(l.X[i], l.Y[i])
		}
	}
}

// Bar is a row of a bar chart.
type Bar struct {
	Name  string
	Value float64
	Label string // of the value
	Ours  bool
}

// Bars is a chart of horizontal bars on a linear axis from 0.
type Bars struct {
	Title, Subtitle string
	Bars            []Bar
}

// Sizes of bar charts in pixels.
const (
	barLeft   = 280
	barHeight = 18
	barStep   = 28
	labelRoom = 190
)

// WriteSVG draws the chart.
func (c *Bars) WriteSVG(w io.Writer) error {
	longest := 0.0
	for _, b := range c.Bars {
		longest = max(longest, b.Value)
	}
	var d drawing
	d.begin(top+barStep*len(c.Bars)+16, c.Title, c.Subtitle)
	for i, b := range c.Bars {
		at := float64(top + barStep*i)
		length := 0.0
		if longest > 0 {
			length = max(0, b.Value) / longest * (width - barLeft - labelRoom)
		}
		colour, weight := "#999", "normal"
		if b.Ours {
			colour, weight = colours[0], "bold"
		}
		d.text(barLeft-10, at+barHeight-4, "end", b.Name, `font-weight="`+weight+`"`)
		fmt.Fprintf(&d, `<rect x="%d" y="%.1f" width="%.1f" height="%d" fill="%s"/>`+"\n", barLeft, at, max(1, length), barHeight, colour)
		d.text(barLeft+length+8, at+barHeight-4, "start", b.Label, "")
	}
	return d.writeTo(w)
}

// Duration labels a number of nanoseconds.
func Duration(ns float64) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{time.Second, "s"}, {time.Millisecond, "ms"}, {time.Microsecond, "µs"}} {
		if ns >= float64(u.unit) {
			return fmt.Sprintf("%g %s", ns/float64(u.unit), u.name)
		}
	}
	return fmt.Sprintf("%g ns", ns)
}
