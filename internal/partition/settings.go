// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"
)

// knobs lists the settings in the order they are made. The cpuset partition is
// the last one and so the first to be undone: the kernel takes its CPUs out of
// the workqueue masks by itself, which would be mistaken for the doing of others.
func knobs() []knob {
	return []knob{
		balancerKnob(),
		irqDefaultKnob(),
		irqAffinityKnob(),
		workqueueKnob(),
		workqueuesKnob(),
		packetSteeringKnob(),
		defaultSteeringKnob(),
		deferredFreeKnob(),
		watchdogKnob(),
		statIntervalKnob(),
		timerMigrationKnob(),
		numaBalancingKnob(),
		hugePagesKnob(),
		samePagesKnob(),
		throttlingKnob(),
		fairServerKnob(),
		machineCheckPollingKnob(),
		consoleKnob(),
		idleLatencyKnob(),
		governorKnob(),
		cacheKnob(),
		tasksKnob(),
		siblingsKnob(),
		cycleKnob(),
		cpusetKnob(),
	}
}

// settings finds out about all settings at once: none depends on another, and
// reading thousands of files is what a plan takes its time for.
func settings(h *host) []Setting {
	all := knobs()
	list := make([]Setting, len(all))
	var done sync.WaitGroup
	for i, k := range all {
		done.Go(func() { list[i] = k.on(h) })
	}
	done.Wait()
	return list
}

// on returns what the knob does on a machine.
func (k knob) on(h *host) Setting {
	s := Setting{Name: k.name, Why: k.why, Source: k.source}
	switch {
	case slices.Contains(h.spec.Skip, k.name):
		s.State, s.Reason = Left, "the spec skips it"
		return s
	case k.global && h.spec.Profile == Throughput && !slices.Contains(h.spec.Require, k.name):
		s.State, s.Reason = Left, "it is for the whole machine, which the profile throughput leaves alone"
		return s
	}
	f, err := k.plan(h)
	if dir, found := h.mounts.readOnly(f.changes); err == nil && found {
		s.readOnly = dir
		err = because(errElsewhere, "%s is mounted read-only (usual in a container)", dir)
	}
	switch {
	case errors.Is(err, errLacking):
		s.State = Lacking
	case errors.Is(err, errTaken):
		s.State, s.goesOn = Lacking, There
	case errors.Is(err, errFixed):
		s.State, s.goesOn = Lacking, Never
	case errors.Is(err, errElsewhere):
		s.State = Elsewhere
	case errors.Is(err, errLeft):
		s.State = Left
	case errors.Is(err, errNeedless):
		s.State = Needless
	case err != nil:
		s.State = Unknown
	case len(f.changes) > 0 || f.later:
		s.State = Changes
	default:
		s.State = Set
	}
	if err != nil {
		// All or nothing: half of a setting helps nobody.
		s.Reason = err.Error()
		if errors.Is(err, fs.ErrPermission) && !strings.Contains(s.Reason, "root") {
			s.Reason += ": look as root"
		}
		return s
	}
	s.Changes, s.Notes, s.Short, s.fixed = f.changes, f.notes, f.short, f.fixed
	return s
}

// Settings returns the names of all settings, in the order they are made.
func Settings() []string {
	var names []string
	for _, k := range knobs() {
		names = append(names, k.name)
	}
	return names
}
