// SPDX-License-Identifier: Apache-2.0

// Package seccomp lets one process answer a system call of another: it installs
// a filter that passes prctl's task isolation calls to a listener, and speaks
// the listener's protocol (seccomp_unotify(2)).
package seccomp
