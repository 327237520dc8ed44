// SPDX-License-Identifier: Apache-2.0

package debian

import "slices"

// Row is a kind of kernel that tests run on.
type Row struct {
	// Name is short and unique. With the first numbers of the kernel's release it is the name of a test.
	Name  string
	Suite string // the release of Debian that the kernel is of
	Arch  string // as Go and Debian name it
	// Package depends on the newest kernel. A package with a version in its name cannot stand here: the archive drops it
	// with the next update.
	Package string
}

// Names of rows beside those that are named like their suite.
const (
	RealTime = "rt"        // PREEMPT_RT; of Debian's flavours only this one has the hwlat, osnoise and timerlat tracers
	ARM64    = "arm64"     // of a stable release
	ARM64Sid = "arm64-sid" // the newest
)

// Rows are all of them. The cloud flavour has all that most tests need and a third of the modules.
func Rows() []Row {
	return []Row{
		{"bookworm", "bookworm", "amd64", "linux-image-cloud-amd64"},
		{"trixie", "trixie", "amd64", "linux-image-cloud-amd64"},
		{"sid", "sid", "amd64", "linux-image-cloud-amd64"},
		{RealTime, "trixie", "amd64", "linux-image-rt-amd64"},
		{ARM64, "trixie", "arm64", "linux-image-cloud-arm64"},
		{ARM64Sid, "sid", "arm64", "linux-image-cloud-arm64"},
	}
}

// FindRow returns the row of that name.
func FindRow(name string) (Row, bool) {
	rows := Rows()
	i := slices.IndexFunc(rows, func(r Row) bool { return r.Name == name })
	if i < 0 {
		return Row{}, false
	}
	return rows[i], true
}

// list is a package list of the archive: of one release, for one architecture.
type list struct{ suite, arch string }

// hostArch is what QEMU and the daemons are for.
const hostArch = "amd64"

// lists are all that [Setup] reads. Those of hostArch are first: with their keyrings the others are verified.
func lists() []list {
	var all []list
	for _, suite := range Suites() {
		all = append(all, list{suite, hostArch})
	}
	for _, row := range Rows() {
		if l := row.list(); !slices.Contains(all, l) {
			all = append(all, l)
		}
	}
	return all
}

func (r Row) list() list { return list{r.Suite, r.Arch} }

// String names the list in messages, and the directory of its apt state.
func (l list) String() string {
	if l.arch == hostArch {
		return l.suite
	}
	return l.suite + "-" + l.arch
}
