// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// WriteText writes r for people to read. Colour is for terminals.
func WriteText(w io.Writer, r *Report, colour bool) error {
	t := &text{colour: colour}
	t.header(r)
	for i := range r.CPUs {
		t.cpu(r, &r.CPUs[i])
	}
	t.isolation(r)
	t.holds(r)
	t.monitors(r)
	t.loop(r)
	t.usage(r)
	t.lost(r)
	t.limits(r)
	if _, err := w.Write(t.Bytes()); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// text is a report in the making.
type text struct {
	bytes.Buffer
	colour bool
}

const (
	bold   = "\x1b[1m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	plain  = "\x1b[0m"
)

func (t *text) paint(style, s string) string {
	if !t.colour {
		return s
	}
	return style + s + plain
}

func (t *text) printf(format string, args ...any) { fmt.Fprintf(&t.Buffer, format, args...) }

// table lines up rows, indented by two. A column whose cells below the heading
// all begin with a digit, or are empty, is one of numbers and aligned right.
func (t *text) table(rows [][]string) {
	widths, numbers := columns(rows)
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if numbers[i] {
				line.WriteString("  " + pad + cell)
			} else {
				line.WriteString("  " + cell + pad)
			}
		}
		t.printf("%s\n", strings.TrimRight(line.String(), " "))
	}
}

// WriteTable writes rows lined up as in a report.
func WriteTable(w io.Writer, rows [][]string) error {
	var t text
	t.table(rows)
	_, err := w.Write(t.Bytes())
	return err
}

func columns(rows [][]string) (widths []int, numbers []bool) {
	for n, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths, numbers = append(widths, 0), append(numbers, true)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
			heading := n == 0 && len(rows) > 1
			numbers[i] = numbers[i] && (heading || isNumber(cell))
		}
	}
	return widths, numbers
}

// isNumber tells whether a cell is empty or a number with at most a unit.
func isNumber(cell string) bool {
	cell = strings.TrimPrefix(cell, "≥ ")
	return cell == "" || strings.ContainsAny(cell[:1], "0123456789-") && strings.Count(cell, " ") < 2
}

func (t *text) header(r *Report) {
	t.printf("\n%s %s on %s (%s)\n", t.paint(bold, "taskiso:"), Span(r.Duration), r.Host.Kernel, r.Host.Arch)
	t.printf("  %s\n", task(&r.Task))
}

func task(t *Task) string {
	var b strings.Builder
	switch t.Kind {
	case "process":
		fmt.Fprintf(&b, "process %d", t.PID)
	case "thread":
		fmt.Fprintf(&b, "thread %d", t.TID)
	case "cpus":
		b.WriteString("every user task on the CPUs")
	default:
		fmt.Fprintf(&b, "%s, process %d", strings.Join(append([]string{t.Kind}, t.Command...), " "), t.PID)
	}
	if t.Threads > 1 {
		fmt.Fprintf(&b, ", %d threads", t.Threads)
	}
	if t.Status != nil {
		fmt.Fprintf(&b, ", exit status %d", *t.Status)
	}
	return b.String()
}

func (t *text) cpu(r *Report, c *CPU) {
	title := fmt.Sprintf("CPU %d: %s", c.CPU, c.Verdict)
	t.printf("\n%s  user mode %s%s, %s", t.paint(bold+verdictColour(c.Verdict), title), Span(c.User),
		share(c.User, r.Duration), plural(c.Breaks, "break", "breaks"))
	if c.Kernel > 0 && c.Kernel <= r.Duration { // threads can be in the kernel side by side
		t.printf(" in %s", Span(c.Kernel))
	}
	t.printf(", %s events lost\n", Count(c.Lost))
	t.causes(c)
	t.longest(c)
	t.quiet(&c.Quiet)
	t.interrupts(c)
}

func verdictColour(verdict string) string {
	switch verdict {
	case VerdictQuiet:
		return green
	case VerdictBroken:
		return red
	default:
		return yellow
	}
}

func share(part, whole time.Duration) string {
	if whole <= 0 || part > whole {
		return ""
	}
	return fmt.Sprintf(" (%.4f %%)", 100*float64(part)/float64(whole))
}

// textOrigins is how many origins of a cause the text names; JSON has more.
const textOrigins = 3

func (t *text) causes(c *CPU) {
	if len(c.Causes) == 0 {
		return
	}
	rows := [][]string{{"breaks", "total", "average", "longest", "cause and origin"}}
	told := make(map[string]bool) // causes whose remedy has been printed
	for _, cause := range c.Causes {
		rows = append(rows, []string{Count(cause.Count), atLeast(cause.Total, &cause), atLeast(cause.Avg, &cause),
			atLeast(cause.Max, &cause), name(cause.Title, cause.Detail)})
		for i, o := range cause.Origins {
			if i == textOrigins {
				rows = append(rows, []string{"", "", "", "", fmt.Sprintf("  and %d others", len(cause.Origins)-i)})
				break
			}
			rows = append(rows, []string{"", "", "", "", "  " + origin(&o)})
		}
		if cause.WithoutOrigin > 0 && len(cause.Origins) > 0 {
			rows = append(rows, []string{"", "", "", "", fmt.Sprintf("  %s× from where was not seen", Count(cause.WithoutOrigin))})
		}
		if cause.Remedy != nil && !told[cause.ID] {
			told[cause.ID] = true
			rows = append(rows, []string{"", "", "", "", "  → " + cause.Remedy.String()})
		}
	}
	t.table(rows)
}

// atLeast marks lower bounds, and leaves out what was not measured at all.
func atLeast(d time.Duration, c *Cause) string {
	switch {
	case c.Unmeasured == c.Count:
		return "-"
	case c.AtLeast:
		return "≥ " + Span(d)
	default:
		return Span(d)
	}
}

func name(title, detail string) string {
	if detail == "" {
		return title
	}
	return title + ": " + detail
}

// String returns the origin as one line.
func (o *Origin) String() string { return origin(o) }

func origin(o *Origin) string {
	who := o.Name
	if o.PID != 0 {
		who += fmt.Sprintf(" (process %d)", o.PID)
	}
	if o.Interrupt {
		who = "an interrupt over " + who
	}
	did := "from"
	switch o.Did {
	case DidWake:
		did = "task woken by"
	case DidQueue:
		did = o.Function + " queued by"
	case DidMove:
		did = "moved here by"
	case DidArm:
		did = o.Function + " armed by"
	case DidAffinity:
		did = "task allowed here by"
	case DidCgroup:
		did = "task moved to its cgroup by"
	}
	s := fmt.Sprintf("%s× %s %s on CPU %d", Count(o.Count), did, who, o.CPU)
	if path := callPath(o.Stack); path != "" {
		s += ": " + path
	}
	return s
}

// callPath shortens a sender's stack to what tells most: the operation that was
// asked for and the function that sent.
func callPath(stack []string) string {
	var path []string
	for i := len(stack) - 1; i >= 0; i-- {
		if !isPlumbing(stack[i]) {
			path = append(path, stack[i])
		}
	}
	const ends = 2
	if len(path) > 2*ends {
		path = append(append(path[:ends:ends], "…"), path[len(path)-ends:]...)
	}
	return strings.Join(path, " → ")
}

// isPlumbing tells whether a function on a sender's stack says nothing about
// why it sent: the entry code and the sending itself.
func isPlumbing(function string) bool {
	for _, prefix := range []string{"entry_", "do_syscall_", "x64_sys_call", "asm_", "ret_from_fork", "smp_call_", "on_each_cpu",
		"generic_exec_single", "__smp_call_", "native_smp_send", "enqueue_hrtimer", "__hrtimer_start_range_ns", "enqueue_timer"} {
		if strings.HasPrefix(function, prefix) {
			return true
		}
	}
	return false
}

func (t *text) longest(c *CPU) {
	if len(c.Longest) == 0 || c.Longest[0].Duration == 0 {
		return
	}
	t.printf("  %s\n", t.paint(bold, "longest breaks"))
	rows := [][]string{{"at", "lasted", "thread", "user ip", "cause"}}
	for _, b := range c.Longest {
		rows = append(rows, breakRow(b))
	}
	t.table(rows)
}

func breakRow(b Break) []string {
	lasted := Span(b.Duration)
	if b.AtLeast {
		lasted = "≥ " + lasted
	}
	if b.Lossy {
		lasted += " (events lost)"
	}
	what := name(b.Title, b.Detail)
	if b.Away > 0 {
		what += fmt.Sprintf(", %s of it for %s", Span(b.Away), b.AwayTo)
	}
	return []string{fmt.Sprintf("%.6f s", b.At.Seconds()), lasted, fmt.Sprint(b.TID), b.UserIP, what}
}

// BreakLine returns one break as one line.
func BreakLine(b Break) string {
	row := breakRow(b)
	line := fmt.Sprintf("%s  CPU %d  thread %s  %s", row[0], b.CPU, row[2], row[1])
	if b.UserIP != "" {
		line += "  at " + b.UserIP
	}
	line += "  " + row[4]
	for _, o := range b.Origins {
		line += "; " + origin(&o)
	}
	return line
}

func (t *text) quiet(q *Quiet) {
	if len(q.Histogram) == 0 {
		return
	}
	t.printf("  %s  longest %s\n", t.paint(bold, "quiet stretches"), Span(q.Longest))
	var most uint64
	for _, b := range q.Histogram {
		most = max(most, b.Count)
	}
	rows := make([][]string, 0, len(q.Histogram))
	const width = 40
	for _, b := range q.Histogram {
		bar := strings.Repeat("▇", max(1, int(width*b.Count/most)))
		rows = append(rows, []string{bucket(b.From), Count(b.Count), bar})
	}
	t.table(rows)
	if q.Unknown > 0 {
		t.printf("  %s more of unknown length\n", Count(q.Unknown))
	}
}

func bucket(from time.Duration) string {
	if from == 0 {
		return "below 1 µs"
	}
	return "from " + roundSpan(from)
}

func (t *text) interrupts(c *CPU) {
	if c.Interrupts == nil || len(c.Interrupts.Rows) == 0 {
		return
	}
	t.printf("  %s\n", t.paint(bold, "interrupts as the kernel counted them, and as seen"))
	rows := make([][]string, 0, len(c.Interrupts.Rows))
	for _, row := range c.Interrupts.Rows {
		seen := "not comparable: " + row.Reason
		if row.Seen != nil {
			seen = Count(*row.Seen)
			switch {
			case row.Differ():
				seen += t.paint(red, "  differs")
			case *row.Seen != row.Kernel:
				seen += fmt.Sprintf("  as many as %s came while they were read", Count(row.MayDiffer))
			}
		}
		rows = append(rows, []string{row.Name, row.Description, Count(row.Kernel), seen})
	}
	t.table(rows)
}

func (t *text) monitors(r *Report) {
	if len(r.Monitors) == 0 {
		return
	}
	t.printf("\n%s\n", t.paint(bold, "monitors"))
	for _, m := range r.Monitors {
		t.printf("  %s on CPU %d: %s, %s, %s\n", m.Monitor, m.CPU, t.paint(monitorColour(m.Verdict), m.Verdict),
			plural(m.Violations, "violation", "violations"), plural(m.Events, "event", "events"))
		for _, reason := range m.Reasons {
			t.printf("    %s\n", reason)
		}
		for i, v := range m.By {
			t.printf("    %s× %s in state %s", Count(v.Count), v.Event, v.State)
			if i == 0 {
				t.printf(", first violation at %.6f s", m.First.Seconds())
			}
			t.printf("\n")
		}
	}
}

func monitorColour(verdict string) string {
	switch verdict {
	case MonitorHeld:
		return green
	case MonitorViolated:
		return red
	default:
		return yellow
	}
}

func (t *text) loop(r *Report) {
	for _, l := range r.Loop {
		t.printf("\nThe loop on CPU %d itself saw %s gaps of %s or more in %s: longest %s, together %s\n",
			l.CPU, Count(l.Gaps), Span(l.Threshold), Span(l.Ran), Span(l.Max), Span(l.Total))
	}
}

func (t *text) usage(r *Report) {
	u := r.Usage
	if u == nil {
		return
	}
	var rows [][]string
	if task := u.Task; task != nil {
		rows = append(rows,
			[]string{"task in user mode", Span(task.User)},
			[]string{"task in the kernel", Span(task.System)},
			[]string{"page faults", Count(uint64(task.MinorFaults)) + " minor, " + Count(uint64(task.MajorFaults)) + " major"},
			[]string{"context switches", Count(uint64(task.Voluntary)) + " voluntary, " + Count(uint64(task.Involuntary)) + " involuntary"})
	}
	if len(u.Events) > 0 {
		rows = append(rows, []string{"perf events of the task", countList(u.Events)})
	}
	if !r.Tracing {
		rows = append(rows,
			[]string{"interrupts on the CPUs", countList(u.Interrupts)},
			[]string{"softirqs on the CPUs", countList(u.Softirqs)})
	}
	if u.Steal > 0 {
		rows = append(rows, []string{"steal time of the CPUs", Span(u.Steal)})
	}
	if len(rows) > 0 {
		t.printf("\n%s\n", t.paint(bold, "as the kernel accounts for it"))
		t.table(rows)
	}
}

// countList returns counts with the largest first.
func countList(counts map[string]uint64) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	words := make([]string, 0, len(names))
	for _, name := range names {
		words = append(words, name+"="+Count(counts[name]))
	}
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

func (t *text) lost(r *Report) {
	l := r.Lost
	if l.Events+l.Missed+l.Children == 0 {
		return
	}
	t.printf("\n%s\n", t.paint(bold+red, "lost"))
	if l.Events > 0 {
		t.printf("  %s events found no room in their ring buffer", Count(l.Events))
		if n := len(l.Intervals); n > 0 {
			t.printf(", between %.3f s and %.3f s", l.Intervals[0].From.Seconds(), l.Intervals[n-1].To.Seconds())
		}
		t.printf("\n")
	}
	if l.Missed > 0 {
		t.printf("  %s events came while one of their kind was being recorded, %s\n", Count(l.Missed), missedWhere(r))
	}
	if l.Children > 0 {
		t.printf("  %s could not be watched: too many at once\n", plural(l.Children, "child", "children"))
	}
}

// missedWhere tells where missed events can have been.
func missedWhere(r *Report) string {
	var where []string
	for _, c := range r.CPUs {
		if c.Preempted > 0 {
			where = append(where, fmt.Sprint(c.CPU))
		}
	}
	if len(where) == 0 {
		return "all on CPUs that were not watched"
	}
	return "perhaps on CPU " + strings.Join(where, ", ")
}

func (t *text) limits(r *Report) {
	if len(r.Limits) == 0 {
		return
	}
	t.printf("\n%s\n", t.paint(bold, "limits"))
	for _, l := range r.Limits {
		t.printf("  - %s\n", l)
	}
}
