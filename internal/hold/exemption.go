// SPDX-License-Identifier: Apache-2.0

package hold

import "github.com/taskiso/taskiso/internal/hold/operation"

// exemption is enum exemption of bpf/hold.bpf.c.
type exemption uint32

const (
	exemptNot exemption = iota
	exemptReport
	exemptInit
	exemptHelper
	exemptWorker
	exemptTraced
	exemptCall
	exemptCompat
	exemptSignal
	exemptFull
	exemptSilence
	exemptChild
	exemptInitChild
)

var exemptions = map[exemption]operation.Reason{
	exemptInit:      operation.ByInit,
	exemptHelper:    operation.ByHelper,
	exemptWorker:    operation.ByWorker,
	exemptTraced:    operation.ByTracer,
	exemptCall:      operation.ByCall,
	exemptCompat:    operation.ByCompat,
	exemptSignal:    operation.BySignal,
	exemptFull:      operation.ByLimit,
	exemptSilence:   operation.BySilence,
	exemptChild:     operation.ByChild,
	exemptInitChild: operation.ByInitChild,
}
