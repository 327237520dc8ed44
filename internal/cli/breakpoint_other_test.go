// SPDX-License-Identifier: Apache-2.0

//go:build !amd64

package cli

import "errors"

var breakpointInstruction []byte

func rewind(int, uintptr) error { return errors.New("written for x86-64 only") }
