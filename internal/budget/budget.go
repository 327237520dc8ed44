// SPDX-License-Identifier: Apache-2.0

// Package budget judges reports by what their user allows: how many interruptions of a cause or an origin there may be,
// how long and how often, and the shortest time for which the task is to be left alone. A rule whose figure is not known for
// certain is neither met nor exceeded, but unknown. The file's form is described in docs/budgets.md.
package budget

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/taskiso/taskiso/cpulist"
)

// Budget is a list of rules, in the order of their file.
type Budget struct {
	Rules []Rule
	// AcceptLowerBound takes what was seen for what there was on CPUs that are not nohz_full, where nothing reports every kernel
	// entry. The longest time without a break is no lower bound.
	AcceptLowerBound bool
}

// Rule selects breaks, and bounds them on each CPU by itself.
type Rule struct {
	Name string
	CPUs cpulist.Set // empty: all that the report has
	// Causes and Except are IDs of causes, or patterns of them as of [path.Match]: those that the rule is about, all if empty,
	// and those that it is not about.
	Causes, Except []string
	// From is the name of a process, or a pattern: only breaks that it caused. Empty: breaks of any origin.
	From   string
	Limits []Limit // at least one
}

// Limit bounds one figure.
type Limit struct {
	Figure  Figure
	Allowed float64
}

// Figure is what a limit is about.
type Figure string

// Figures, as the file and the JSON name them. All but the last may be as large as the limit, the last as small.
const (
	Count     Figure = "count"      // breaks
	PerSecond Figure = "per_second" // breaks in a second of the observation
	Longest   Figure = "longest"    // break, in nanoseconds
	Half      Figure = "p50"        // so long are half of the breaks at most, in nanoseconds
	P90       Figure = "p90"
	P99       Figure = "p99"
	P999      Figure = "p999"
	P9999     Figure = "p9999"
	Share     Figure = "share" // of the observation that breaks took, 0 to 1
	Quiet     Figure = "quiet" // the longest time without a break, in nanoseconds
)

// figures are those above in the order in which they are judged.
var figures = []Figure{Count, PerSecond, Longest, Half, P90, P99, P999, P9999, Share, Quiet}

// percentiles are the figures that are lengths which a part of the breaks does not exceed, with that part.
var percentiles = map[Figure]float64{Half: 0.5, P90: 0.9, P99: 0.99, P999: 0.999, P9999: 0.9999}

// file is the form of a rule in the file.
type file struct {
	CPUs      *string  `toml:"cpus"`
	Cause     any      `toml:"cause"`
	Except    any      `toml:"except"`
	From      string   `toml:"from"`
	Count     *float64 `toml:"count"`
	PerSecond *float64 `toml:"per_second"`
	Longest   *string  `toml:"longest"`
	P50       *string  `toml:"p50"`
	P90       *string  `toml:"p90"`
	P99       *string  `toml:"p99"`
	P999      *string  `toml:"p999"`
	P9999     *string  `toml:"p9999"`
	Share     *string  `toml:"share"`
	Quiet     *string  `toml:"quiet"`
}

// keys are those of a rule in the file.
var keys = []string{"cpus", "cause", "except", "from", "count", "per_second", "longest", "p50", "p90", "p99", "p999", "p9999", "share", "quiet"}

// maxRules bounds a file: each rule is judged on each CPU.
const maxRules = 1000

// ReadFile reads the budget in a file.
func ReadFile(name string) (Budget, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return Budget{}, fmt.Errorf("reading a budget: %w", err)
	}
	return Parse(name, string(text))
}

// Parse reads the text of a budget. name is that of its file, in errors.
func Parse(name, text string) (Budget, error) {
	var tables map[string]toml.Primitive
	meta, err := toml.Decode(text, &tables)
	if parse := (toml.ParseError{}); errors.As(err, &parse) {
		return Budget{}, fmt.Errorf("%s:%d:%d: %s", name, parse.Position.Line, parse.Position.Col, strings.TrimSuffix(parse.Message, "."))
	} else if err != nil {
		return Budget{}, fmt.Errorf("%s: a budget consists of tables with keys, such as [ticks] with count = 0 below it: %w", name, err)
	}
	isUnknown := func(k toml.Key) bool { return len(k) > 2 || len(k) == 2 && !slices.Contains(keys, k[1]) }
	if i := slices.IndexFunc(meta.Keys(), isUnknown); i >= 0 {
		return Budget{}, fmt.Errorf("%s: %s: unknown key: want one of %s", name, meta.Keys()[i], strings.Join(keys, ", "))
	}
	var b Budget
	for _, key := range meta.Keys() {
		if len(key) != 1 {
			continue
		}
		rule, err := parseRule(meta, key[0], tables[key[0]])
		if err != nil {
			return Budget{}, fmt.Errorf("%s: [%s]: %w", name, key[0], err)
		}
		b.Rules = append(b.Rules, rule)
	}
	switch {
	case len(b.Rules) == 0:
		return Budget{}, fmt.Errorf("%s: no rule: write at least one, such as [all] with count = 0 below it", name)
	case len(b.Rules) > maxRules:
		return Budget{}, fmt.Errorf("%s: %d rules, there can be %d", name, len(b.Rules), maxRules)
	}
	return b, nil
}

func parseRule(meta toml.MetaData, name string, table toml.Primitive) (Rule, error) {
	var f file
	if meta.Type(name) != "Hash" {
		return Rule{}, errors.New("want a table: [name], and keys below it")
	}
	if err := meta.PrimitiveDecode(table, &f); err != nil {
		return Rule{}, err
	}
	r := Rule{Name: name, From: f.From}
	var errs [4]error
	r.CPUs, errs[0] = cpus(f.CPUs)
	r.Causes, errs[1] = patterns("cause", f.Cause)
	r.Except, errs[2] = patterns("except", f.Except)
	r.Limits, errs[3] = f.limits()
	if err := errors.Join(errs[:]...); err != nil {
		return Rule{}, err
	}
	return r, r.check()
}

func (r *Rule) check() error {
	if _, err := path.Match(r.From, ""); err != nil {
		return fmt.Errorf("from: %q is not a pattern: %w", r.From, err)
	}
	if len(r.Limits) == 0 {
		return errors.New("it bounds nothing: give count, per_second, longest, p50 to p9999, share or quiet")
	}
	selects := len(r.Causes)+len(r.Except) > 0 || r.From != ""
	for _, l := range r.Limits {
		switch {
		case l.Figure == Quiet && selects:
			return errors.New("quiet is the time without any break: it goes with no cause, except or from")
		case r.From != "" && l.Figure != Count && l.Figure != PerSecond:
			return fmt.Errorf("%s of the breaks that one process caused is not in a report: with from, give count or per_second", l.Figure)
		}
	}
	return nil
}

func cpus(list *string) (cpulist.Set, error) {
	if list == nil {
		return cpulist.Set{}, nil
	}
	set, err := cpulist.Parse(*list)
	if err != nil {
		return set, fmt.Errorf("cpus: %w", err)
	}
	return set, nil
}

// patterns takes one pattern, or a list.
func patterns(key string, value any) ([]string, error) {
	var list []string
	switch value := value.(type) {
	case nil:
		return nil, nil
	case string:
		list = []string{value}
	case []any:
		for _, v := range value {
			text, ok := v.(string)
			if !ok {
				return nil, fmt.Errorf("%s: %v is not a string: want IDs of causes", key, v)
			}
			list = append(list, text)
		}
	default:
		return nil, fmt.Errorf("%s: %v is not a string: want the ID of a cause, or a list of them", key, value)
	}
	for _, p := range list {
		if _, err := path.Match(p, ""); err != nil || p == "" {
			return nil, fmt.Errorf("%s: %q is not a pattern of IDs: write tick, or timer-*", key, p)
		}
	}
	return list, nil
}

func (f *file) limits() ([]Limit, error) {
	var limits []Limit
	var errs []error
	for _, figure := range figures {
		allowed, given, err := f.limit(figure)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", figure, err))
		case given:
			limits = append(limits, Limit{figure, allowed})
		}
	}
	return limits, errors.Join(errs...)
}

func (f *file) limit(figure Figure) (allowed float64, given bool, err error) {
	switch figure {
	case Count:
		return number(f.Count)
	case PerSecond:
		return number(f.PerSecond)
	case Share:
		return share(f.Share)
	}
	lengths := map[Figure]*string{Longest: f.Longest, Half: f.P50, P90: f.P90, P99: f.P99, P999: f.P999, P9999: f.P9999, Quiet: f.Quiet}
	return duration(lengths[figure])
}

func number(n *float64) (float64, bool, error) {
	if n == nil {
		return 0, false, nil
	}
	if !(*n >= 0) || math.IsInf(*n, 0) { // nor NaN
		return 0, false, fmt.Errorf("%v: want 0 or more", *n)
	}
	return *n, true, nil
}

func duration(text *string) (float64, bool, error) {
	if text == nil {
		return 0, false, nil
	}
	d, err := time.ParseDuration(*text)
	if err != nil || d < 0 {
		return 0, false, fmt.Errorf("%q: want a duration such as \"50us\" or \"1s\"", *text)
	}
	return float64(d), true, nil
}

func share(text *string) (float64, bool, error) {
	if text == nil {
		return 0, false, nil
	}
	var percent float64
	var rest string
	n, err := fmt.Sscanf(*text, "%g%s", &percent, &rest)
	if err != nil || n != 2 || rest != "%" || !(percent >= 0 && percent <= 100) {
		return 0, false, fmt.Errorf("%q: want a percentage such as \"0.01%%\"", *text)
	}
	return percent / 100, true, nil
}

// selects reports whether a rule is about a cause.
func (r *Rule) selects(id string) bool {
	matches := func(pattern string) bool {
		ok, _ := path.Match(pattern, id) // Parse has looked at the pattern
		return ok
	}
	return (len(r.Causes) == 0 || slices.ContainsFunc(r.Causes, matches)) && !slices.ContainsFunc(r.Except, matches)
}

// isFrom reports whether a process is the one that a rule is about.
func (r *Rule) isFrom(name string) bool {
	ok, _ := path.Match(r.From, name)
	return ok
}
