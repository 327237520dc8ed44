// SPDX-License-Identifier: Apache-2.0

package flags

import "strconv"

// The integers of package pflag read 010 as eight, and take 0x10 and 1_000; these are decimal, as every other number of a
// command line is.

// Number is a whole number.
type Number int

// Set implements pflag.Value.
func (n *Number) Set(text string) error {
	v, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	*n = Number(v)
	return nil
}

// String implements pflag.Value.
func (n *Number) String() string { return strconv.Itoa(int(*n)) }

// Type implements pflag.Value.
func (n *Number) Type() string { return "int" }

// Count is a whole number that is not negative.
type Count uint64

// Set implements pflag.Value.
func (c *Count) Set(text string) error {
	v, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return err
	}
	*c = Count(v)
	return nil
}

// String implements pflag.Value.
func (c *Count) String() string { return strconv.FormatUint(uint64(*c), 10) }

// Type implements pflag.Value.
func (c *Count) Type() string { return "uint64" }
