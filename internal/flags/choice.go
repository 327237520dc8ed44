// SPDX-License-Identifier: Apache-2.0

package flags

import (
	"errors"
	"slices"
	"strings"
)

// Choice is the value of an option that is one of several words.
type Choice struct {
	of    []string
	value string
}

// NewChoice returns one that is the first of the words if nothing is given.
func NewChoice(of ...string) Choice { return Choice{of, of[0]} }

// Set implements pflag.Value.
func (c *Choice) Set(word string) error {
	if !slices.Contains(c.of, word) {
		return errors.New("want " + strings.Join(c.of, ", "))
	}
	c.value = word
	return nil
}

// String implements pflag.Value.
func (c *Choice) String() string { return c.value }

// Type implements pflag.Value.
func (c *Choice) Type() string { return "word" }
