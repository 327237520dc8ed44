// SPDX-License-Identifier: Apache-2.0

// Package session answers the calls with which tasks ask to be isolated, and keeps
// an account of the outcomes. It decides when isolation may begin; the beginning and
// the end itself are decided on the task's own CPU (package trace).
package session
