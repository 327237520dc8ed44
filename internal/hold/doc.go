// SPDX-License-Identifier: Apache-2.0

// Package hold keeps operations that would interrupt isolated CPUs back at their
// source until a window opens.
//
// A BPF program at the security hook of an operation stands before its first
// effect. While the hold is closed it lets the system call be restarted instead,
// which looks like a slow call to the thread, and notifies the keeper. The keeper
// decides what becomes of it, and stops the thread as a debugger would, so that
// it waits without running. A thread whose keeper dies goes on: the kernel sees to it.
//
// Why nothing is lost, done twice or left stopped: docs/design/06-hold.md.
package hold

//go:generate go tool bpf2go -cc clang-16 -strip llvm-strip-16 -target amd64,arm64 -tags linux -type event -type waiting -type change -type file_key -type file_rule -type option_key -type call_key -type look_context bpf bpf/hold.bpf.c -- -mcpu=v3 -Wall -Werror -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu
