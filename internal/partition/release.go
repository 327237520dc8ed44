// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"fmt"
	"regexp"
)

// release is a version of the kernel: 6012 is 6.12.
type release int

func (r release) String() string { return fmt.Sprintf("%d.%d", r/1000, r%1000) }

const newest release = 99999

// releaseForm finds the version in "6.12.48+deb13-amd64".
var releaseForm = regexp.MustCompile(`^(\d{1,2})\.(\d{1,3})\D`)

// imageForm finds it in the boot loader's word for the image that it loaded.
var imageForm = regexp.MustCompile(`vmlinu[xz]-(\d{1,2}\.\d{1,3}\D.*)$`)
