// SPDX-License-Identifier: Apache-2.0

package output

import (
	"fmt"
	"io"
	"os"
	"time"
	"unicode/utf8"
)

// ProgressInterval is short enough to look alive.
const ProgressInterval = 500 * time.Millisecond

// Progress is a line on the terminal that is written over again and again.
type Progress struct {
	w     io.Writer
	width func() int
	total time.Duration // 0 if there is no end
	next  time.Time
	shown bool
}

// NewProgress returns one on standard error, whose first line Due allows after ProgressInterval; nil, which shows nothing,
// where standard error is not a terminal.
func NewProgress(stderr io.Writer, total time.Duration) *Progress {
	if !IsTerminal(os.Stderr) {
		return nil
	}
	return &Progress{w: stderr, width: func() int { return Width(os.Stderr) }, total: total, next: time.Now().Add(ProgressInterval)}
}

// Due reports whether the line is to be written again.
func (p *Progress) Due(now time.Time) bool {
	if p == nil || now.Before(p.next) {
		return false
	}
	p.next = now.Add(ProgressInterval)
	return true
}

// Print writes the line. elapsed is negative before the end of the warm-up.
func (p *Progress) Print(elapsed time.Duration, found string) {
	p.shown = true
	line := fmt.Sprintf("warming up, %.1f s to go", -elapsed.Seconds())
	if elapsed >= 0 {
		of := ""
		if p.total > 0 {
			of = fmt.Sprintf(" of %g s", p.total.Seconds())
		}
		line = fmt.Sprintf("%.1f s%s: %s", elapsed.Seconds(), of, found)
	}
	fmt.Fprintf(p.w, "\r\x1b[K%s", fit(line, p.width()-1, " (Ctrl-C ends it and prints the report)", " (Ctrl-C: report)"))
}

// fit returns a line that is no wider than width, as one that wraps cannot be written over: with the first of the hints that
// fits in.
func fit(line string, width int, hints ...string) string {
	for _, hint := range hints {
		if utf8.RuneCountInString(line+hint) <= width {
			return line + hint
		}
	}
	if runes := []rune(line); len(runes) > max(0, width) {
		return string(runes[:max(0, width)])
	}
	return line
}

// Clear removes the line.
func (p *Progress) Clear() {
	if p != nil && p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
