// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

func modifyLDT() error {
	// struct user_desc of a writable 32-bit data segment
	desc := [4]uint32{0, 0, 0xfffff, 1 | 1<<4 | 1<<6}
	if err := call(unix.SYS_MODIFY_LDT, 1, uintptr(unsafe.Pointer(&desc[0])), unsafe.Sizeof(desc)); errors.Is(err, unix.ENOSYS) {
		return cannot(err)
	} else if err != nil {
		return err
	}
	return nil
}
