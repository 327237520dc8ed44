// SPDX-License-Identifier: Apache-2.0

//go:build !amd64

package noise

// whereabouts would return the CPU that this thread is on. No other architecture
// shows it to user mode.
//
//go:nosplit
func (l *Loop) whereabouts() int64 { return -1 }

func canTellCPU() bool { return false }
