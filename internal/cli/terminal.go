// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/taskiso/taskiso/internal/observe"
	"github.com/taskiso/taskiso/internal/report"
)

// isTerminal tells whether f is a terminal that wants colour and live lines.
func isTerminal(f *os.File) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

// progressInterval is short enough to look alive.
const progressInterval = 500 * time.Millisecond

// progress is a line on the terminal that is written over again and again.
type progress struct {
	w     io.Writer
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
	return &progress{w: p.stderr, total: time.Duration(opts.duration), next: time.Now().Add(progressInterval)}
}

func (p *progress) show(now time.Time, state observe.Progress) {
	if p == nil || now.Before(p.next) {
		return
	}
	p.next = now.Add(progressInterval)
	p.print(state.Elapsed, fmt.Sprintf("%s breaks, %s events lost", report.Count(state.Breaks), report.Count(state.Lost)))
}

// print writes the line. elapsed is negative before the end of the warm-up.
func (p *progress) print(elapsed time.Duration, found string) {
	p.shown = true
	if elapsed < 0 {
		fmt.Fprintf(p.w, "\r\x1b[Kwarming up, %s to go", report.Span(-elapsed.Round(100*time.Millisecond)))
		return
	}
	of := ""
	if p.total > 0 {
		of = " of " + p.total.String()
	}
	fmt.Fprintf(p.w, "\r\x1b[K%.1f s%s: %s", elapsed.Seconds(), of, found)
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
