// SPDX-License-Identifier: Apache-2.0

// Package cause names the cause of a stay in the kernel, explains it, and
// knows what removes it. The causes, and how they are recognised, are data:
// catalogue.toml.
package cause

import (
	"fmt"
	"strconv"
	"syscall"

	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/signame"
	"github.com/taskiso/taskiso/internal/stay"
	"github.com/taskiso/taskiso/internal/total"
)

//go:generate go run gen.go

// Cause is the cause of a stay. Stays with equal causes are counted together.
type Cause = total.Cause

// Names resolves what events carry as numbers.
type Names interface {
	Function(addr uint64) string
	Syscall(number int) string
	Device(irq int) string // of an interrupt, "" if it is not known
}

// irqText is the number of an interrupt, with its device if that is known.
func irqText(names Names, irq int) string {
	if device := names.Device(irq); device != "" {
		return fmt.Sprintf("%d %s", irq, device)
	}
	return strconv.Itoa(irq)
}

// Of names the cause of s: the first rule that matches.
func (c *Catalogue) Of(s *stay.Stay, names Names) Cause {
	entry := Unnamed
	if s.Named() {
		entry = s.Entry.Kind.String()
	}
	of := &subject{Stay: s, catalogue: c, names: names}
	for _, r := range c.rules[entry] {
		if r.matches(of) {
			return Cause{ID: r.id, Title: r.title, Detail: details[r.Detail](of)}
		}
	}
	return Cause{ID: Unnamed, Title: Unnamed}
}

// details maps the words that a rule can ask for to functions that return the detail of a stay.
var details = map[string]func(s *subject) string{
	"":         func(*subject) string { return "" },
	"function": func(s *subject) string { return s.get(function) },
	"syscall":  func(s *subject) string { return s.get(syscallName) },
	"irq":      func(s *subject) string { return irqText(s.names, int(s.Entry.A)) },
	"reason":   func(s *subject) string { return s.Entry.Reason() },
	"handler":  func(s *subject) string { return s.names.Function(s.Entry.A) },
	"sender":   func(s *subject) string { return s.get(sender) },
	"signal":   func(s *subject) string { return s.get(signalName) },
	"work":     func(s *subject) string { return s.get(work) },
	"fault":    func(s *subject) string { return s.get(faultKind) },
	"event":    func(s *subject) string { return firstEvent(s.Stay) },
	"next": func(s *subject) string {
		return firstOf(s.Stay, event.Switch, func(e event.Event) string { return e.Task.Name })
	},
}

func firstEvent(s *stay.Stay) string {
	if len(s.Inside) == 0 {
		return ""
	}
	e := s.Inside[0].Event
	if e.Kind == event.Switch {
		return "switch to " + e.Task.Name
	}
	return "first seen: " + e.Kind.String()
}

// Describe names the object of an event inside a stay: a function, a system call, an interrupt, a task.
func Describe(e event.Event, names Names) string {
	switch e.Kind {
	case event.SyscallEnter:
		return names.Syscall(int(e.A))
	case event.IRQEnter, event.VectorFreed:
		return irqText(names, int(e.A))
	case event.IPIEnter:
		return e.Reason()
	case event.PageFault:
		return fmt.Sprintf("%#x", e.A)
	case event.Signal:
		return signame.Of(syscall.Signal(e.A))
	case event.SoftirqEnter:
		return softirqName(e.A)
	case event.Switch:
		return e.Task.Name
	case event.CSDEnter, event.HRTimer, event.Timer, event.Work, event.NMI:
		return names.Function(e.A)
	}
	return ""
}

// softirqName follows the order of the enum in include/linux/interrupt.h, which
// is also that of /proc/softirqs.
func softirqName(vector uint64) string {
	softirqs := [...]string{"HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU"}
	if vector < uint64(len(softirqs)) {
		return softirqs[vector]
	}
	return fmt.Sprintf("softirq %d", vector)
}
