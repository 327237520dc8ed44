// SPDX-License-Identifier: Apache-2.0

// Package vmtest runs Go tests in virtual machines with stock kernels, for what must not or cannot be tried on the
// machine that runs the tests: boot parameters, settings of the whole machine, kernels it does not have.
//
// A package's test binary is the whole guest: it is the only program in the initial RAM filesystem, runs as init,
// mounts what tests expect, runs the tests, reports and powers off. There is no image to build.
//
//	func TestMain(m *testing.M) { vmtest.Main(m) }
//
//	// On the host: boots each kernel and shows the guest's tests as subtests.
//	func TestVM(t *testing.T) { vmtest.Run(t, vmtest.Config{Cmdline: vmtest.Isolated}) }
//
//	// In the guest, as root.
//	func TestGuestTickStops(t *testing.T) { … }
//
// Package debian provides kernels and QEMU, package wire the stream of results. What the console shows is only for
// people, no result is read from it.
//
// See docs/testing.md for environment variables.
package vmtest
