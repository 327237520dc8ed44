// SPDX-License-Identifier: Apache-2.0

package cpulist_test

import (
	"fmt"

	"github.com/taskiso/taskiso/cpulist"
)

func Example() {
	online, err := cpulist.ParseSysfs("0-7\n")
	if err != nil {
		fmt.Println(err)
		return
	}
	last, _ := online.Last()
	isolated, err := cpulist.ParseMax("2-N", last)
	if err != nil {
		fmt.Println(err)
		return
	}
	housekeeping := online.Minus(isolated)
	fmt.Println("isolated:", isolated, "mask", isolated.Mask())
	fmt.Println("housekeeping:", housekeeping, "mask", housekeeping.Mask())
	for cpu := range housekeeping.All() {
		fmt.Println("CPU", cpu)
	}
	// Output:
	// isolated: 2-7 mask fc
	// housekeeping: 0-1 mask 3
	// CPU 0
	// CPU 1
}

func ExampleParse() {
	for _, text := range []string{"0-15:1/4", "2-N", "7-3"} {
		set, err := cpulist.Parse(text)
		fmt.Printf("%q %v\n", set, err)
	}
	// Output:
	// "0,4,8,12" <nil>
	// "" parsing CPU list "2-N": the last CPU is not known here, write its number
	// "" parsing CPU list "7-3": range ends before it begins
}
