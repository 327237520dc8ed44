// SPDX-License-Identifier: Apache-2.0

package screen

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/printable"
)

// line is one of the screen, of pieces in their styles.
type line []piece

type piece struct{ style, text string }

// write writes as much of the line as is not wider than the screen.
func (l line) write(b *bytes.Buffer, width int, colour bool) {
	t := display.Text{Colour: colour}
	whole := ""
	for _, p := range l {
		whole += p.text
	}
	kept := strings.TrimRight(display.Cut(whole, width), " ")
	for _, p := range l {
		text := p.text
		if !strings.HasPrefix(kept, text) { // the last one
			text = kept
		}
		kept = kept[len(text):]
		if p.style != "" && text != "" {
			text = t.Paint(p.style, text)
		}
		b.WriteString(text)
	}
	b.WriteByte('\n')
}

// signs are those of other alphabets that the output replaces where a terminal has only ASCII, by others as wide.
const signs = "µ≥→×…"

// clean makes a text that others chose fit for the terminal: it cannot command it, and has only letters that it can show.
func (s *screen) clean(text string) string {
	text = printable.Text(strings.Join(strings.Fields(text), " "))
	if !s.ASCII {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if r < 0x7f || strings.ContainsRune(signs, r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRuneToASCII(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}
