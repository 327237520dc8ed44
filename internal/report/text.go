// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/printable"
)

// WriteText writes r for people to read. Colour is for terminals.
func WriteText(w io.Writer, r *Report, colour bool) error {
	t := &text{display.Text{Colour: colour}}
	t.header(r)
	for i := range r.CPUs {
		t.cpu(r, &r.CPUs[i])
	}
	if len(r.CPUs) == 0 && r.Tracing {
		t.doubts(r.Doubts)
	}
	t.isolation(r)
	t.holds(r)
	t.monitors(r)
	t.loop(r)
	t.usage(r)
	t.lost(r)
	t.flight(r.Flight)
	t.limits(r)
	if _, err := w.Write(t.Bytes()); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// WriteForeign writes, without colours, a report that anybody can have written, whose texts it escapes in r: nothing in them
// can command a terminal, or be taken for a line of taskiso's.
func WriteForeign(w io.Writer, r *Report) error {
	printable.Escape(r)
	return WriteText(w, r, false)
}

// text is a report in the making.
type text struct{ display.Text }

func (t *text) header(r *Report) {
	t.Printf("\n%s %s on %s (%s)\n", t.Paint(display.Bold, "taskiso:"), display.Span(r.Duration), r.Host.Kernel, r.Host.Arch)
	t.Printf("  %s\n", task(&r.Task))
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
	switch {
	case t.Status == nil:
	case t.EndedBy == "duration":
		fmt.Fprintf(&b, ", ended by --duration (exit status %d)", *t.Status)
	default:
		fmt.Fprintf(&b, ", exit status %d", *t.Status)
	}
	return b.String()
}

func (t *text) cpu(r *Report, c *CPU) {
	title := fmt.Sprintf("CPU %d: %s", c.CPU, c.Verdict)
	t.Printf("\n%s  user mode %s%s, %s", t.Paint(display.Bold+verdictColour(c.Verdict), title), display.Span(c.User),
		share(c.User, r.Duration), display.Plural(c.Breaks, "break", "breaks"))
	if c.Kernel > 0 {
		t.Printf(" in %s", display.Span(c.Kernel))
	}
	if c.Waited > 0 {
		t.Printf(", waited by itself %s", display.Span(c.Waited))
	}
	t.Printf(", %s events lost\n", display.Count(c.Lost))
	if rest := c.rest(r.Duration); rest > 0 {
		t.Printf("  the rest of %s is %s: no watched thread was here, or nothing shows what it did\n", display.Span(r.Duration), display.Span(rest))
	}
	if c.Verdict == VerdictUnknown {
		t.doubts(r.About(c.CPU))
	}
	t.causes(c)
	t.longest(c)
	t.quiet(&c.Quiet)
	t.interrupts(c)
}

// rest is the time that is in none of the sums.
func (c *CPU) rest(all time.Duration) time.Duration { return all - c.User - c.Kernel - c.Waited }

// doubts is why a verdict is unknown.
func (t *text) doubts(doubts []Doubt) {
	for _, d := range doubts {
		t.Printf("  unknown: %s\n", d.Text)
	}
}

func verdictColour(verdict string) string {
	switch verdict {
	case VerdictQuiet:
		return display.Green
	case VerdictDisturbed:
		return display.Red
	default:
		return display.Yellow
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
	rows := [][]string{{"breaks", "total", "average", "longest", "waited", "cause and origin"}}
	printed := make(map[string]bool) // causes whose remedy has been printed
	for _, cause := range c.Causes {
		rows = append(rows, []string{display.Count(cause.Count), atLeast(cause.Total, &cause), atLeast(cause.Avg, &cause),
			atLeast(cause.Max, &cause), waited(cause.Waited), name(cause.Title, cause.Detail)})
		for i, o := range cause.Origins {
			if i == textOrigins {
				rows = append(rows, []string{"", "", "", "", "", others(len(cause.Origins) - i)})
				break
			}
			rows = append(rows, []string{"", "", "", "", "", "  " + o.String()})
		}
		if cause.WithoutOrigin > 0 && len(cause.Origins) > 0 {
			rows = append(rows, []string{"", "", "", "", "", fmt.Sprintf("  %s× origin unknown", display.Count(cause.WithoutOrigin))})
		}
		if cause.Remedy != nil && !printed[cause.ID] {
			printed[cause.ID] = true
			rows = append(rows, []string{"", "", "", "", "", "  → " + cause.Remedy.String()})
		}
	}
	if c.waited() == 0 {
		for i := range rows {
			rows[i] = slices.Delete(rows[i], waitedColumn, waitedColumn+1)
		}
	}
	t.Table(rows)
}

// waitedColumn is that of the time waited, which is there only if there was any.
const waitedColumn = 4

func (c *CPU) waited() time.Duration {
	var sum time.Duration
	for _, cause := range c.Causes {
		sum += cause.Waited
	}
	return sum
}

func waited(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return display.Span(d)
}

// atLeast marks lower bounds, and leaves out what was not measured at all.
func atLeast(d time.Duration, c *Cause) string {
	switch {
	case c.Unmeasured == c.Count:
		return "-"
	case c.AtLeast:
		return "≥ " + display.Span(d)
	default:
		return display.Span(d)
	}
}

func name(title, detail string) string {
	if detail == "" {
		return title
	}
	return title + ": " + detail
}

// others is the line below origins that are not listed.
func others(n int) string {
	if n == 1 {
		return "  and 1 other"
	}
	return fmt.Sprintf("  and %d others", n)
}

// String returns the origin as one line, with how often it was one.
func (o *Origin) String() string { return display.Count(o.Count) + "× " + o.Description() }

// Description returns the origin as one line.
func (o *Origin) Description() string {
	who := o.Name
	if o.PID != 0 {
		who += fmt.Sprintf(" (process %d)", o.PID)
	}
	if o.Interrupt {
		who = "an interrupt handler while " + who + " was running"
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
	s := fmt.Sprintf("%s %s on CPU %d", did, who, o.CPU)
	if path := callPath(o.Stack); path != "" {
		s += ": " + path
	}
	return s
}

// callPath shortens a sender's stack to what explains most: the operation that was
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

// isPlumbing reports whether a function on a sender's stack explains nothing about
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
	t.Printf("  %s\n", t.Paint(display.Bold, "longest breaks"))
	rows := [][]string{{"at", "lasted", "thread", "user ip", "cause"}}
	for _, b := range c.Longest {
		rows = append(rows, breakRow(b))
	}
	t.Table(rows)
}

func breakRow(b Break) []string {
	lasted := display.Span(b.Duration)
	if b.AtLeast {
		lasted = "≥ " + lasted
	}
	if b.Open {
		lasted += " so far"
	}
	if b.Lossy {
		lasted += " (events lost)"
	}
	what := name(b.Title, b.Detail)
	if b.Away > 0 {
		what += fmt.Sprintf(", %s of it for %s", display.Span(b.Away), b.AwayTo)
	}
	if b.Waited > 0 {
		what += fmt.Sprintf(", waited by itself %s", display.Span(b.Waited))
	}
	return []string{fmt.Sprintf("%.6f s", b.At.Seconds()), lasted, fmt.Sprint(b.TID), b.UserIP, what}
}

// What returns what a break was: its cause with the detail.
func (b *Break) What() string { return name(b.Title, b.Detail) }

// BreakLine returns one break as one line.
func BreakLine(b Break) string {
	row := breakRow(b)
	line := fmt.Sprintf("%s  CPU %d  thread %s  %s", row[0], b.CPU, row[2], row[1])
	if b.UserIP != "" {
		line += "  at " + b.UserIP
	}
	line += "  " + row[4]
	for _, o := range b.Origins {
		line += "; " + o.String()
	}
	return line
}

func (t *text) quiet(q *Quiet) {
	if len(q.Histogram) == 0 {
		return
	}
	t.Printf("  %s  longest %s\n", t.Paint(display.Bold, "quiet stretches"), display.Span(q.Longest))
	var most uint64
	for _, b := range q.Histogram {
		most = max(most, b.Count)
	}
	rows := make([][]string, 0, len(q.Histogram))
	for _, b := range q.Histogram {
		rows = append(rows, []string{bucket(b.From), display.Count(b.Count), display.Bar(b.Count, most)})
	}
	t.Table(rows)
	if q.Unknown > 0 {
		t.Printf("  %s more of unknown length\n", display.Count(q.Unknown))
	}
}

func bucket(from time.Duration) string {
	if from == 0 {
		return "below 1 µs"
	}
	return "from " + display.RoundSpan(from)
}

func (t *text) interrupts(c *CPU) {
	if c.Interrupts == nil || len(c.Interrupts.Rows) == 0 {
		return
	}
	t.Printf("  %s\n", t.Paint(display.Bold, "interrupt counts: kernel, taskiso"))
	rows := make([][]string, 0, len(c.Interrupts.Rows))
	for _, row := range c.Interrupts.Rows {
		seen := "not comparable: " + row.Reason
		if row.Seen != nil {
			seen = display.Count(*row.Seen)
			switch {
			case row.Differ():
				seen += t.Paint(display.Red, "  differs")
			case *row.Seen != row.Kernel:
				seen += fmt.Sprintf("  up to %s may have arrived during the read", display.Count(row.MayDiffer))
			}
		}
		rows = append(rows, []string{row.Name, row.Description, display.Count(row.Kernel), seen})
	}
	t.Table(rows)
}

func (t *text) monitors(r *Report) {
	if len(r.Monitors) == 0 {
		return
	}
	t.Printf("\n%s\n", t.Paint(display.Bold, "monitors"))
	for _, m := range r.Monitors {
		t.Printf("  %s on CPU %d: %s, %s, %s\n", m.Monitor, m.CPU, t.Paint(monitorColour(m.Verdict), m.Verdict),
			display.Plural(m.Violations, "violation", "violations"), display.Plural(m.Events, "event", "events"))
		for _, reason := range m.Reasons {
			t.Printf("    %s\n", reason)
		}
		for i, v := range m.By {
			t.Printf("    %s× %s in state %s", display.Count(v.Count), v.Event, v.State)
			if i == 0 {
				t.Printf(", first violation at %.6f s", m.First.Seconds())
			}
			t.Printf("\n")
		}
	}
}

func monitorColour(verdict string) string {
	switch verdict {
	case MonitorSatisfied:
		return display.Green
	case MonitorViolated:
		return display.Red
	default:
		return display.Yellow
	}
}

func (t *text) loop(r *Report) {
	for _, l := range r.Loop {
		t.Printf("\nThe loop on CPU %d itself saw %s gaps of %s or more in %s: longest %s, together %s\n",
			l.CPU, display.Count(l.Gaps), display.Span(l.Threshold), display.Span(l.Ran), display.Span(l.Max), display.Span(l.Total))
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
			[]string{"task in user mode", display.Span(task.User)},
			[]string{"task in the kernel", display.Span(task.System)},
			[]string{"page faults", display.Count(uint64(task.MinorFaults)) + " minor, " + display.Count(uint64(task.MajorFaults)) + " major"},
			[]string{"context switches", display.Count(uint64(task.Voluntary)) + " voluntary, " + display.Count(uint64(task.Involuntary)) + " involuntary"})
	}
	if len(u.Events) > 0 {
		rows = append(rows, []string{"perf events of the task", countList(u.Events)})
	}
	if !r.Tracing {
		rows = append(rows,
			[]string{"interrupts on the CPUs", countList(u.Interrupts)},
			[]string{"softirqs on the CPUs", countList(u.Softirqs)})
	}
	if u.Steal != nil && *u.Steal > 0 {
		rows = append(rows, []string{"steal time of the CPUs", display.Span(*u.Steal)})
	}
	if len(rows) > 0 {
		t.Printf("\n%s\n", t.Paint(display.Bold, "as the kernel accounts for it"))
		t.Table(rows)
	}
}

// countList returns counts with the largest first.
func countList(counts map[string]uint64) string {
	if counts == nil {
		return "unknown: it may have run on any CPU"
	}
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	words := make([]string, 0, len(names))
	for _, name := range names {
		words = append(words, name+"="+display.Count(counts[name]))
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
	t.Printf("\n%s\n", t.Paint(display.Bold+display.Red, "lost"))
	if l.Events > 0 {
		t.Printf("  %s events found no room in their ring buffer", display.Count(l.Events))
		if n := len(l.Intervals); n > 0 {
			t.Printf(", between %.3f s and %.3f s", l.Intervals[0].From.Seconds(), l.Intervals[n-1].To.Seconds())
		}
		t.Printf("\n")
	}
	if l.Missed > 0 {
		t.Printf("  %s events came while one of their kind was being recorded, %s\n", display.Count(l.Missed), missedWhere(r))
	}
	if l.Children > 0 {
		t.Printf("  %s could not be watched: too many at once\n", display.Plural(l.Children, "child", "children"))
	}
}

// missedWhere names where missed events can have been.
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
	t.Printf("\n%s\n", t.Paint(display.Bold, "limits"))
	for _, l := range r.Limits {
		t.Printf("  - %s\n", l)
	}
}
