// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/kernfs"
	"github.com/taskiso/taskiso/internal/partition/change"
	"github.com/taskiso/taskiso/internal/partition/thread"
)

// Created is what [Store.Create] did.
type Created struct {
	Plan    *Plan    `json:"plan"`
	Refused []Drift  `json:"refused,omitempty"` // what the kernel would not have
	Missed  []Effect `json:"no_effect,omitempty"`
}

// OK reports whether all has its effect, or will have it by itself.
func (c *Created) OK() bool { return !lacking(c.Missed) }

// kind is that of the cpuset partition that was made, if one was.
func (c *Created) kind() string {
	for _, d := range c.Refused {
		if path.Base(d.Path) == partitionFile {
			return None
		}
	}
	return c.Plan.kind()
}

// Create plans spec and makes the changes, each after it is in the journal, and
// reads each value back. If one fails, or ctx ends, all before it are undone. A
// process that dies in between leaves the journal for [Store.Recover].
func (s *Store) Create(ctx context.Context, spec Spec) (*Created, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return s.createLocked(ctx, spec, header{})
}

// createLocked makes a partition; kind is what its header has besides the plan.
func (s *Store) createLocked(ctx context.Context, spec Spec, kind header) (*Created, error) {
	plan, err := s.planBesideOthers(spec)
	if err != nil {
		return nil, err
	}
	if err := s.finish(plan, spec); err != nil {
		return nil, err
	}
	plan.Warnings = append(plan.Warnings, rivals(s.view, plan)...)
	f, err := s.begin(spec, plan, kind)
	if err != nil {
		return nil, err
	}
	created := &Created{Plan: plan}
	created.Refused, err = s.applyAll(ctx, f, plan.All())
	if err == nil {
		err = s.applyLateTasks(ctx, f, spec, plan)
	}
	if err == nil {
		err = s.keepAffinities(plan.CPUs, plan.All())
	}
	if err == nil {
		err = appendJSON(f, line{Complete: true})
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		created.Missed = s.waitForEffect(ctx, plan.CPUs, created.kind(), plan.All())
		return created, nil
	}
	err = fmt.Errorf("creating partition %s: %w", plan.Name, s.blame(plan, err))
	if undo := s.undo(plan.Name, false); undo != nil {
		return nil, errors.Join(err, fmt.Errorf("and then, undoing it: %w; see \"taskiso partition recover\"", undo))
	}
	return nil, err
}

// blame names those who have the CPUs where the kernel makes no partition of them because of that. Before 7.0 a list of
// CPUs is enough, which takes them from nobody.
func (s *Store) blame(plan *Plan, err error) error {
	if !errors.Is(err, kernfs.ErrNotTaken) || !strings.Contains(err.Error(), "not exclusive") {
		return err
	}
	owners, _ := Owners(s.view, plan.CPUs) // a warning of the plan reports that there are more
	for _, o := range owners {
		if !IsOurs(o.Dir) {
			return fmt.Errorf("%w; %v has CPU %v in its cpuset.cpus: take them out there, choose other CPUs, or use --partition none", err, o, o.CPUs.Intersect(plan.CPUs))
		}
	}
	return err
}

// Plan plans spec as [Store.Create] does, and only reads. That all of it would be
// refused is in the plan, and no error.
func (s *Store) Plan(spec Spec) (*Plan, error) {
	others, err := s.others()
	if err != nil {
		return nil, err
	}
	plan, err := newBeside(spec, s.view, others.cpus())
	if plan == nil {
		return nil, err
	}
	if taken := cmp.Or(others.checkNameFree(plan.Name), others.checkNoOverlap(plan.CPUs)); taken != nil {
		plan.refuse(taken)
		err = plan.missing(spec)
	}
	return plan, err
}

// Grade grades the machine as [NewGrade] does, and warns of partitions that are in the
// way of the one that would end some of it.
func (s *Store) Grade(spec Spec) (*Grade, error) {
	g, err := NewGrade(spec, s.view)
	if err != nil {
		return nil, err
	}
	others, err := s.others()
	if err != nil {
		return nil, err
	}
	if taken := cmp.Or(others.checkNoOverlap(g.CPUs), others.checkNameFree(spec.Name)); taken != nil {
		g.Warnings = append(g.Warnings, fmt.Sprintf("\"taskiso partition create\" is refused as long as it is there: %v", taken))
	}
	return g, nil
}

// planBesideOthers plans a partition that takes nothing from others.
func (s *Store) planBesideOthers(spec Spec) (*Plan, error) {
	plan, err := s.Plan(spec)
	if plan != nil && plan.refusal != nil {
		return nil, fmt.Errorf("creating partition %s, nothing was changed: %w", plan.Name, plan.refusal)
	}
	return plan, err
}

// finish adds to a plan what only a machine that runs shows.
func (s *Store) finish(plan *Plan, spec Spec) error {
	on := running{s.files, s.view, spec, plan.CPUs, plan.kind()}
	for _, k := range knobs() {
		if setting := plan.setting(k.name); setting != nil && k.finish != nil {
			if err := k.finish(setting, on); err != nil {
				return err
			}
		}
	}
	return nil
}

// applyLateTasks moves threads that were forked by others before those were
// moved, and those that the kernel leaves where they are in spite of a cpuset.
func (s *Store) applyLateTasks(ctx context.Context, f syncedFile, spec Spec, plan *Plan) error {
	const rounds = 10 // each finds only children of the one before
	for range rounds {
		late := Setting{Name: tasksSetting}
		if err := finishTasks(&late, running{s.files, s.view, spec, plan.CPUs, None}); err != nil {
			return err
		}
		if len(late.Changes) == 0 {
			return nil
		}
		if _, err := s.applyAll(ctx, f, late.Changes); err != nil {
			return err
		}
		plan.Settings = append(plan.Settings, late)
	}
	return nil // what is left is found by verifying the effect
}

// begin makes a journal with its header.
func (s *Store) begin(spec Spec, plan *Plan, h header) (syncedFile, error) {
	boot, err := s.bootID()
	if err != nil {
		return nil, err
	}
	f, err := s.create(s.path(plan.Name))
	if err != nil {
		return nil, fmt.Errorf("beginning the journal: %w", err)
	}
	h.Schema, h.BootID, h.Name, h.CPUs, h.Partition, h.Spec = 1, boot, plan.Name, plan.CPUs, plan.kind(), spec
	if err := appendJSON(f, h); err != nil {
		return nil, errors.Join(fmt.Errorf("beginning the journal; nothing was changed: %w", err), f.Close(), s.drop(plan.Name))
	}
	return f, nil
}

func (s *Store) applyAll(ctx context.Context, f syncedFile, changes []change.Change) (refused []Drift, err error) {
	for _, c := range changes {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if !insideNew(changes, c) {
			if ready, err := c.Ready(s.files); err != nil {
				return nil, err
			} else if !ready {
				continue
			}
		}
		if err := appendJSON(f, line{Change: &c}); err != nil {
			return nil, fmt.Errorf("writing the journal: %w", err)
		}
		err := c.Apply(s.files)
		if c.Refused(err) {
			refused = append(refused, drift(c, c.From))
			err = appendJSON(f, line{Refused: true})
		}
		if err != nil {
			return nil, err
		}
	}
	return refused, nil
}

// insideNew reports whether c is in a directory that the changes make.
func insideNew(changes []change.Change, c change.Change) bool {
	return slices.ContainsFunc(changes, func(d change.Change) bool {
		return filepath.Dir(c.Path) == d.Directory()
	})
}

// keepAffinities gives threads back the CPUs that they had asked for, of those that
// are left to them: before 6.2 a change of cpusets makes the kernel forget that. One
// that asked for others meanwhile is left alone.
func (s *Store) keepAffinities(cpus cpulist.Set, changes []change.Change) error {
	for _, c := range changes {
		want := c.Kept(cpus)
		if want.IsEmpty() {
			continue
		}
		t := thread.Thread{Dir: c.Path, Allowed: s.affinityOf(c)}
		if t.Allowed.IsEmpty() || t.Allowed == want || t.Allowed != s.cpusetOf(t) {
			continue // it has ended, or has what it wants
		}
		if err := c.SetAffinity(s.files, want.String()); err != nil {
			return err
		}
	}
	return nil
}
