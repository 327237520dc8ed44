// SPDX-License-Identifier: Apache-2.0

// Package session answers the calls with which tasks ask to be isolated, and keeps
// an account of what became of each. It decides when isolation may begin; that
// it begins and ends is decided on the task's own CPU (package trace).
package session
