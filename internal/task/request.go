// SPDX-License-Identifier: Apache-2.0

package task

// RequestError is the error of a request that cannot be met on this machine: for a CPU that it does not have.
type RequestError struct{ Err error }

func (e *RequestError) Error() string { return e.Err.Error() }
func (e *RequestError) Unwrap() error { return e.Err }
