// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Counter counts page faults of one target without recording them. Its methods
// may be called from any goroutine, except that Close must be the last.
type Counter struct{ open *attachment }

// Count begins to count the page faults of a target. Of the options it heeds
// MajorOnly, KernelMode, Children, Paused and OnExec. A thread of a process that is
// created while Count begins may be counted twice.
//
// It costs two descriptors for each thread that there is now, none for those to come, and per fault
// little more than adding one to a number.
func Count(t Target, o Options) (*Counter, error) {
	t = t.resolve()
	o.Durations = false
	c := &Counter{&attachment{open: unix.PerfEventOpen, target: t, pid: t.id, options: o, cpus: []int{-1}}}
	if err := c.attach(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Counter) attach() error {
	if err := c.each(c.openThread); err != nil {
		return err
	}
	if c.open.options.Paused || c.open.options.OnExec {
		return nil
	}
	return c.Resume()
}

func (c *Counter) each(do func(tid int) error) error {
	if c.open.target.thread {
		return do(c.open.target.id)
	}
	c.open.inherit = unix.PerfBitInherit
	if !c.open.options.Children {
		c.open.inherit |= bitInheritThread
	}
	return eachThread(c.open.pid, do)
}

// openThread opens the events singly: they need no common switch that is cheap.
func (c *Counter) openThread(tid int) error {
	for _, k := range c.open.kinds() {
		attr := baseAttr(k, c.open.options.KernelMode)
		attr.Bits |= c.open.inherit
		if c.open.options.OnExec {
			attr.Bits |= unix.PerfBitEnableOnExec
		}
		fd, err := c.open.open(&attr, tid, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
		if err != nil {
			return c.open.explain(err, tid)
		}
		c.open.groups = append(c.open.groups, group{events: []event{{fd, k}}, owner: tid})
	}
	return nil
}

// Counts returns the number of faults so far; only Minor and Major are set. The kernel
// interrupts the CPUs where the target is running to know it.
func (c *Counter) Counts() (Counts, error) {
	n, err := c.open.counts()
	return Counts{Minor: n[minor], Major: n[major]}, err
}

// Pause ends counting until Resume.
func (c *Counter) Pause() error { return c.open.disable() }

// Resume goes on after Pause, or begins after [Options].Paused.
func (c *Counter) Resume() error { return c.open.enable() }

// Close frees the descriptors.
func (c *Counter) Close() error { return c.open.close() }
