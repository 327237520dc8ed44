// SPDX-License-Identifier: Apache-2.0

package automaton

import (
	"fmt"
	"slices"
	"strings"
)

// initPrefix marks the invisible node that points to the initial state.
const initPrefix = "__init_"

// Parse reads a .dot file: states are nodes, transitions are edges whose label
// is an event, or several with \n between them; the initial state is the one
// that a node called __init_STATE points to; final states are doublecircles.
// Labels with guards or resets (hybrid automata) are refused.
func Parse(text string) (*Automaton, error) {
	p := parser{a: &Automaton{events: map[string]int{}, initial: none}}
	tokens, err := scan(text)
	if err == nil {
		err = p.graph(tokens)
	}
	if err == nil {
		err = p.complete()
	}
	if err != nil {
		return nil, fmt.Errorf("parsing automaton: %w", err)
	}
	return p.a, nil
}

type parser struct {
	a      *Automaton
	tokens []token
	shape  []string // default shape of nodes, by nesting of braces
	edges  []edge
}

type edge struct{ from, to, event string }

func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrSyntax}, args...)...)
}

func (p *parser) peek() token {
	if len(p.tokens) == 0 {
		return token{}
	}
	return p.tokens[0]
}

func (p *parser) take() token {
	t := p.peek()
	if len(p.tokens) > 0 {
		p.tokens = p.tokens[1:]
	}
	return t
}

func (p *parser) accept(mark string) bool {
	if t := p.peek(); t.quoted || t.text != mark {
		return false
	}
	p.take()
	return true
}

// graph: digraph name { statements }
func (p *parser) graph(tokens []token) error {
	p.tokens = tokens
	if !p.accept("digraph") {
		return p.errorf("no digraph")
	}
	if p.peek().text != "{" {
		p.take()
	}
	if !p.accept("{") {
		return p.errorf("no { after the name")
	}
	p.shape = []string{""}
	for len(p.shape) > 0 {
		if err := p.statement(); err != nil {
			return err
		}
	}
	if len(p.tokens) > 0 {
		return p.errorf("text after the last }")
	}
	return nil
}

const maxNesting = 16

func (p *parser) statement() error {
	switch {
	case len(p.tokens) == 0:
		return p.errorf("no closing }")
	case p.accept(";"):
		return nil
	case p.accept("{"):
		if len(p.shape) == maxNesting {
			return p.errorf("more than %d nested {", maxNesting)
		}
		p.shape = append(p.shape, p.shape[len(p.shape)-1])
		return nil
	case p.accept("}"):
		p.shape = p.shape[:len(p.shape)-1]
		return nil
	}
	name := p.take()
	switch {
	case name.mark():
		return p.errorf("%q where a name should be", name.text)
	case p.accept("="): // attribute of the graph
		p.take()
		return nil
	case p.accept("->"):
		return p.edge(name)
	}
	attrs, err := p.attributes()
	if err != nil {
		return err
	}
	return p.node(name, attrs)
}

func (p *parser) node(name token, attrs map[string]string) error {
	if !name.quoted && (name.text == "node" || name.text == "edge" || name.text == "graph") {
		if shape, ok := attrs["shape"]; ok && name.text == "node" {
			p.shape[len(p.shape)-1] = shape
		}
		return nil
	}
	if strings.HasPrefix(name.text, initPrefix) {
		return nil
	}
	i, err := p.state(name.text)
	if err != nil {
		return err
	}
	shape := p.shape[len(p.shape)-1]
	if own, ok := attrs["shape"]; ok {
		shape = own
	}
	p.a.final[i] = p.a.final[i] || shape == "doublecircle"
	return nil
}

func (p *parser) edge(from token) error {
	to := p.take()
	if to.mark() || to.text == "" {
		return p.errorf("edge from %q leads nowhere", from.text)
	}
	attrs, err := p.attributes()
	if err != nil {
		return err
	}
	if strings.HasPrefix(from.text, initPrefix) {
		return p.initial(strings.TrimPrefix(from.text, initPrefix), to.text)
	}
	label := attrs["label"]
	if label == "" {
		return p.errorf("edge from %q to %q has no event", from.text, to.text)
	}
	for event := range strings.SplitSeq(label, `\n`) {
		event = strings.TrimSpace(event)
		if event == "" || strings.ContainsAny(event, " ;=<>\"") {
			return p.errorf("event %q on the edge from %q to %q", event, from.text, to.text)
		}
		p.edges = append(p.edges, edge{from.text, to.text, event})
	}
	return nil
}

func (p *parser) initial(name, to string) error {
	if name != to {
		return p.errorf("%s%s points to %q", initPrefix, name, to)
	}
	i, err := p.state(to)
	if err != nil {
		return err
	}
	if p.a.initial != none && p.a.initial != i {
		return p.errorf("two initial states, %q and %q", p.a.states[p.a.initial], to)
	}
	p.a.initial = i
	return nil
}

// attributes: [ name = value, ... ], or nothing.
func (p *parser) attributes() (map[string]string, error) {
	if !p.accept("[") {
		return nil, nil
	}
	attrs := map[string]string{}
	for !p.accept("]") {
		name := p.take()
		if name.mark() || name.text == "" && !name.quoted {
			return nil, p.errorf("%q in a list of attributes", name.text)
		}
		if p.accept("=") {
			attrs[name.text] = p.take().text
		}
		if !p.accept(",") {
			p.accept(";")
		}
	}
	return attrs, nil
}

func (p *parser) state(name string) (int, error) {
	if i := slices.Index(p.a.states, name); i >= 0 {
		return i, nil
	}
	if len(p.a.states) == MaxStates {
		return 0, p.errorf("more than %d states", MaxStates)
	}
	p.a.states = append(p.a.states, name)
	p.a.final = append(p.a.final, false)
	return len(p.a.states) - 1, nil
}

// complete builds the table. Edges are last, because any of them may name a
// new state or event.
func (p *parser) complete() error {
	a := p.a
	if a.initial == none {
		return p.errorf("no node %sSTATE that points to the initial state", initPrefix)
	}
	for _, e := range p.edges {
		for _, name := range []string{e.from, e.to} {
			if !slices.Contains(a.states, name) {
				return p.errorf("edge of %q, which is not a node", name)
			}
		}
		if _, ok := a.events[e.event]; !ok {
			a.events[e.event] = len(a.events)
		}
	}
	if len(a.events) > MaxStates {
		return p.errorf("more than %d events", MaxStates)
	}
	for range a.states {
		a.next = append(a.next, slices.Repeat([]int{none}, len(a.events)))
	}
	for _, e := range p.edges {
		from, to := slices.Index(a.states, e.from), slices.Index(a.states, e.to)
		at := &a.next[from][a.events[e.event]]
		if *at != none && *at != to {
			return p.errorf("not deterministic: event %q in state %q leads to %q and %q", e.event, e.from, a.states[*at], e.to)
		}
		*at = to
	}
	return nil
}
