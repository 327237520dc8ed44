// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/observe"
)

// isTerminal tells whether f is a terminal on which lines can be written over.
func isTerminal(f *os.File) bool {
	return os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

// wantsColour tells whether f is a terminal whose user wants colours (https://no-color.org).
func wantsColour(f *os.File) bool { return os.Getenv("NO_COLOR") == "" && isTerminal(f) }

// isASCII tells whether the locale says that only ASCII can be shown. Nothing is known where none is set.
func isASCII(getenv func(string) string) bool {
	locale := strings.ToUpper(cmp.Or(getenv("LC_ALL"), getenv("LC_CTYPE"), getenv("LANG")))
	return locale != "" && !strings.Contains(locale, "UTF-8") && !strings.Contains(locale, "UTF8")
}

// asciiWriter writes the signs of a text as others that are as wide, so that tables stay lined up.
type asciiWriter struct{ w io.Writer }

var toASCII = strings.NewReplacer("µ", "u", "≥ ", ">=", "≥", ">=", "→", ">", "×", "x", "▇", "#", "…", "~", "✓", "+", "✗", "-", "–", "-", "—", "-")

func (a asciiWriter) Write(p []byte) (int, error) {
	if _, err := toASCII.WriteString(a.w, string(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// text returns w for text that people read, in signs that their terminal has.
func (p *program) text(w io.Writer) io.Writer {
	if p.ascii {
		return asciiWriter{w}
	}
	return w
}

// progressInterval is short enough to look alive.
const progressInterval = 500 * time.Millisecond

// progress is a line on the terminal that is written over again and again.
type progress struct {
	w     io.Writer
	width func() int
	total time.Duration // 0 if there is no end
	next  time.Time
	shown bool
}

// newProgress returns nil where no progress is to be shown: in a pipe, and where
// the command writes to the same terminal.
func (p *program) newProgress(opts *options, ownTerminal bool) *progress {
	if opts.quiet || opts.verbose || !ownTerminal || !isTerminal(os.Stderr) {
		return nil
	}
	return &progress{w: p.stderr, width: stderrWidth, total: time.Duration(opts.duration), next: time.Now().Add(progressInterval)}
}

// stderrWidth returns how many letters a line of the terminal has; that can change at any time.
func stderrWidth() int {
	const usual = 80
	width, _, err := term.GetSize(int(os.Stderr.Fd()))
	if err != nil || width <= 0 {
		return usual
	}
	return width
}

func (p *progress) show(now time.Time, state observe.Progress) {
	if p == nil || now.Before(p.next) {
		return
	}
	p.next = now.Add(progressInterval)
	p.print(state.Elapsed, fmt.Sprintf("%s breaks, %s events lost", display.Count(state.Breaks), display.Count(state.Lost)))
}

// print writes the line. elapsed is negative before the end of the warm-up.
func (p *progress) print(elapsed time.Duration, found string) {
	p.shown = true
	line := fmt.Sprintf("warming up, %.1f s to go", -elapsed.Seconds())
	if elapsed >= 0 {
		of := ""
		if p.total > 0 {
			of = fmt.Sprintf(" of %g s", p.total.Seconds())
		}
		line = fmt.Sprintf("%.1f s%s: %s", elapsed.Seconds(), of, found)
	}
	fmt.Fprintf(p.w, "\r\x1b[K%s", fit(line, " (Ctrl-C ends it and prints the report)", p.width()-1))
}

// fit returns a line that is no wider than width, as one that wraps cannot be written over: with the hint if that fits in.
func fit(line, hint string, width int) string {
	if utf8.RuneCountInString(line+hint) <= width {
		return line + hint
	}
	if runes := []rune(line); len(runes) > max(0, width) {
		return string(runes[:max(0, width)])
	}
	return line
}

func (p *progress) clear() {
	if p != nil && p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// controlsTerminal tells whether the terminal on standard input sends its
// signals to this process and its children alike.
func controlsTerminal() bool {
	foreground, err := foregroundGroup(int(os.Stdin.Fd()))
	return err == nil && foreground == processGroup()
}
