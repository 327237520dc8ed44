// SPDX-License-Identifier: Apache-2.0

// Package record keeps what a tracer has seen in a file, from which everything that comes after the tracer can be done
// again. docs/recording.md describes the format, byte by byte.
//
// A recording is a header, chunks of events, and an ending. Each chunk stands for itself: it can be read without those
// before it, so that a file that is cut anywhere is a recording up to its last whole chunk.
package record
