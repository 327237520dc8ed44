// SPDX-License-Identifier: Apache-2.0

package trace

import "github.com/taskiso/taskiso/internal/event"

// elsewhere are kinds that other architectures have.
var elsewhere = []event.Kind{event.IPIEnter, event.IPIExit, event.SendIPI}
