// SPDX-License-Identifier: Apache-2.0

// Package debian obtains what a virtual machine needs from Debian's archive: stock kernels of several releases and a
// QEMU to boot them.
//
// [Setup] downloads, [Load] reads what an earlier Setup left in the cache. Tests only ever call Load, so that a test
// run neither touches the network nor changes kernels half-way.
//
// Nothing is installed. Setup asks the machine's own apt configuration where the archive is, then works with a private
// apt state inside the cache: the machine's source lists, package lists and dpkg database are not written. apt verifies
// signatures as it always does. Packages are unpacked, their maintainer scripts never run. No privileges are needed.
//
// A cache may be shared by several processes: it is locked while Setup changes it.
package debian
