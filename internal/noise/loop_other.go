// SPDX-License-Identifier: Apache-2.0

//go:build !amd64 && !arm64

package noise

const cpuCounter = Clock

func spin(from, threshold uint64, stop *uint32) (last, to, samples uint64) {
	return spinClock(from, threshold, stop, &pace{slow: never})
}

func spinYielding(from, threshold uint64, stop, turn *uint32) (last, to, samples uint64) {
	return spin(from, threshold, stop)
}

func counter() uint64 { return readClock() }
