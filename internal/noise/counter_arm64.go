// SPDX-License-Identifier: Apache-2.0

package noise

const cpuCounter = CNTVCT
