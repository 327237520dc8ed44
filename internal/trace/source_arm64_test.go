// SPDX-License-Identifier: Apache-2.0

package trace

import "github.com/taskiso/taskiso/internal/event"

// elsewhere are kinds that other architectures have.
var elsewhere = []event.Kind{
	event.CallFunctionSingleEnter, event.CallFunctionSingleExit, // arm64 has one IPI for calls of one CPU and of many
	event.ThermalEnter, event.ThermalExit, event.ThresholdEnter, event.ThresholdExit, event.DeferredErrorEnter, event.DeferredErrorExit,
	event.ErrorAPICEnter, event.ErrorAPICExit, event.SpuriousEnter, event.SpuriousExit, event.PlatformIPIEnter, event.PlatformIPIExit,
	event.NMI, event.VectorFreed, event.SendIRQ,
}
