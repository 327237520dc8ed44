// SPDX-License-Identifier: Apache-2.0

package deferral

import "errors"

// Errors for callers to test with errors.Is.
var (
	// ErrLayout: the memory is not a domain, or its numbers contradict each other.
	ErrLayout = errors.New("not a deferral domain")
	// ErrVersion: a domain, written by a library with another layout.
	ErrVersion = errors.New("deferral domain of another layout version")
	// ErrNotSealed: the memory can be shrunk under its users; seal it with
	// F_SEAL_SHRINK and F_SEAL_GROW before sharing it.
	ErrNotSealed = errors.New("memory is not sealed against shrinking")
	// ErrRange: a slot, kind or key that the domain does not have.
	ErrRange = errors.New("out of range")
	// ErrTooLarge: a value or message larger than the domain's cells or messages.
	ErrTooLarge = errors.New("too large")
	// ErrBusy: somebody else owns the slot, or holds a lock for too long.
	ErrBusy = errors.New("busy")
	// ErrFull: the slot has not yet received as many messages as its queue holds.
	ErrFull = errors.New("queue full")
	// ErrOnline: the slot's owner is online; only an absent owner can be acted for.
	ErrOnline = errors.New("slot is online")
	// ErrTooManyPeers: all places for processes that post are taken.
	ErrTooManyPeers = errors.New("too many peers")
	// ErrCorrupt: a peer wrote something into the domain that the protocol never writes.
	ErrCorrupt = errors.New("shared memory is corrupted")
	// ErrClosed: the domain or slot was closed.
	ErrClosed = errors.New("closed")
	// ErrPreempt: the Go runtime will interrupt busy threads.
	ErrPreempt = errors.New("go runtime preempts by signal")
)
