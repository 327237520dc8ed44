// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"encoding/binary"
	"fmt"
	"io"
	"maps"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// UserMode finds threads that are in user mode on CPUs with context tracking:
// on these a thread can stay in user mode for ever without any event. It looks
// at the kernel's own account of time and disturbs nobody.
type UserMode struct {
	coll     *ebpf.Collection
	iterator *link.Iter
}

// OpenUserMode loads what a look needs, which takes long beside a thread that spins
// in an emulated guest: before anything is observed.
//
// A kernel without iterators over tasks gives [ebpf.ErrNotSupported].
func OpenUserMode() (*UserMode, error) {
	const name = "in_user_mode" // needs no maps but that of its constants
	spec, err := loadBpf()
	if err != nil {
		return nil, fmt.Errorf("reading the embedded BPF programs: %w", err)
	}
	if err := setNamespace(spec); err != nil {
		return nil, err
	}
	maps.DeleteFunc(spec.Programs, func(other string, _ *ebpf.ProgramSpec) bool { return other != name })
	maps.DeleteFunc(spec.Maps, func(other string, _ *ebpf.MapSpec) bool { return other[0] != '.' }) // but variables
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, fmt.Errorf("loading the iterator %s: %w", name, err)
	}
	iterator, err := link.AttachIter(link.IterOptions{Program: coll.Programs[name]})
	if err != nil {
		coll.Close()
		return nil, fmt.Errorf("attaching the iterator %s: %w", name, err)
	}
	return &UserMode{coll, iterator}, nil
}

// Close gives up what a look needs.
func (u *UserMode) Close() error {
	u.coll.Close()
	return u.iterator.Close()
}

// Threads returns the thread that is in user mode now, by CPU.
func (u *UserMode) Threads() (map[int]uint32, error) {
	r, err := u.iterator.Open()
	if err != nil {
		return nil, fmt.Errorf("looking for threads in user mode: %w", err)
	}
	defer r.Close()
	raw, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("looking for threads in user mode: %w", err)
	}
	const size = 8 // struct in_user_mode in bpf/running.h
	found := make(map[int]uint32)
	for ; len(raw) >= size; raw = raw[size:] {
		found[int(binary.NativeEndian.Uint32(raw))] = binary.NativeEndian.Uint32(raw[4:])
	}
	return found, nil
}
