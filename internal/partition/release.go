// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"fmt"
	"regexp"
	"strconv"
)

// release is a version of the kernel: 6012 is 6.12.
type release int

func (r release) String() string { return fmt.Sprintf("%d.%d", r/1000, r%1000) }

const newest release = 99999

// releaseForm finds the version in "6.12.48+deb13-amd64".
var releaseForm = regexp.MustCompile(`^(\d{1,2})\.(\d{1,3})\D`)

// imageForm finds it in the boot loader's word for the image that it loaded.
var imageForm = regexp.MustCompile(`vmlinu[xz]-(\d{1,2}\.\d{1,3}\D.*)$`)

// releases returns between which releases the kernel is, by its number, or else by
// what it has. Neither is the last word: distributions take features back to older
// kernels; see [kernelLine.readings].
func (h *host) releases(line []argument) (oldest, latest release) {
	if r, ok := h.releaseNumber(line); ok {
		return r, r
	}
	latest = newest
	for cpu := range h.Online.All() {
		if _, err := h.read(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/topology/core_cpus_list", cpu)); err == nil {
			oldest = 5003
			break
		}
		if _, err := h.read(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu)); err == nil {
			latest = 5002
			break
		}
	}
	for _, sign := range []struct {
		file  string
		since release
	}{
		{"/proc/sys/net/core/skb_defer_max", 5019},
		{"/proc/sys/net/core/rps_default_mask", 6003},
		{patienceFile, 6011},
		{"/sys/kernel/debug/sched/fair_server", 6012},
	} {
		if sign.since > oldest && h.exists(sign.file) {
			oldest = sign.since
		}
	}
	return oldest, max(oldest, latest)
}

func (h *host) releaseNumber(line []argument) (release, bool) {
	text, err := h.read("/proc/sys/kernel/osrelease")
	if err != nil {
		image, _ := last(line, "BOOT_IMAGE")
		if found := imageForm.FindStringSubmatch(image); found != nil {
			text = found[1]
		}
	}
	found := releaseForm.FindStringSubmatch(text + "\n")
	if found == nil {
		return 0, false
	}
	major, _ := strconv.Atoi(found[1]) // digits, and few
	minor, _ := strconv.Atoi(found[2])
	return release(major*1000 + minor), true
}
