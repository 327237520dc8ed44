// SPDX-License-Identifier: Apache-2.0

package session

import (
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/session/account"
)

// maxAccounts bounds how many threads have accounts of their own: a command may
// start, and end, as many as it likes.
const maxAccounts = 1024

// accounts are those of threads that tried to enter.
type accounts map[uint32]*account.Calls

// of returns the account of a thread, a new one if need be.
func (a *accounts) of(tid uint32) *account.Calls {
	if c := (*a)[tid]; c != nil {
		return c
	}
	if len(*a) >= maxAccounts && tid != account.Others { // Others may be one more
		return a.of(account.Others)
	}
	if *a == nil {
		*a = make(accounts)
	}
	c := &account.Calls{TID: tid, WaitedFor: make(map[string]uint64)}
	(*a)[tid] = c
	return c
}

// Calls returns the accounts of all threads that tried to enter, by thread.
func (s *Supervisor) Calls() []account.Calls {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []account.Calls
	for _, tid := range slices.Sorted(maps.Keys(s.accounts)) {
		c := *s.accounts[tid]
		c.WaitedFor = maps.Clone(c.WaitedFor)
		all = append(all, c)
	}
	return all
}

// attempt notes how a call to enter ended, and what it had waited for in vain.
func (s *Supervisor) attempt(tid uint32, settling time.Duration, errno unix.Errno, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.accounts.of(tid)
	c.Attempts++
	c.Settling += settling
	c.Longest = max(c.Longest, settling)
	switch errno {
	case 0:
		c.Granted++
	case unix.EINVAL:
		c.Invalid++
	case unix.EINTR:
		c.Cut++
	default:
		c.NotQuiet++
	}
	if why != "" {
		c.WaitedFor[why]++
	}
}
