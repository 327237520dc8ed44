// SPDX-License-Identifier: Apache-2.0

// Package partition sets CPUs apart: it plans which settings of the running
// system to change so that nothing but isolated tasks uses them.
//
// [New] is pure. It reads a tree of files, that of this machine or a captured
// one, and gives the same [Plan] for the same tree and [Spec]. A setting that the
// machine lacks is part of the plan and not an error.
//
// A [Store] makes the changes of a plan. Each is in a journal before it is made
// and read back after, so that [Store.Undo] and, after a crash, [Store.Recover]
// restore the values that were there.
package partition
