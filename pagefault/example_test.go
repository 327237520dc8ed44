// SPDX-License-Identifier: Apache-2.0

package pagefault_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/pagefault"
)

// newMemory returns memory that was never touched.
func newMemory(pages int) []byte {
	m, err := unix.Mmap(-1, 0, pages*unix.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		log.Fatal(err)
	}
	return m
}

func ExampleWatch() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	m := newMemory(1)
	start := uint64(uintptr(unsafe.Pointer(&m[0])))

	w, err := pagefault.Watch(pagefault.Thread(0), pagefault.Options{
		Ranges: []pagefault.Range{{Start: start, End: start + uint64(len(m))}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close()
	m[100] = 1
	if err := w.Stop(); err != nil {
		log.Fatal(err)
	}
	for {
		f, err := w.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s fault at byte %d, in %v memory\n", f.Severity(), f.Address-start, f.Mapping.Kind)
	}
	// Output: minor fault at byte 100, in anonymous memory
}

func ExamplePrefault() {
	m := newMemory(16)
	report, err := pagefault.Prefault(pagefault.PrefaultOptions{Memory: [][]byte{m}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(report.Refused), "requests refused")
	// Output: 0 requests refused
}
