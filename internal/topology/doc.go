// SPDX-License-Identifier: Apache-2.0

// Package topology reads which CPUs a machine has, how they are connected, and
// what has interrupted them so far.
//
// Every function takes the root of the file tree as an [fs.FS], so that a
// captured tree of another machine serves as well as the real one. Nothing is
// cached: CPUs come and go, and other programs change settings, so each call
// reads anew. All files are readable without privileges.
package topology
