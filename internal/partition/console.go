// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"fmt"
	"strings"

	"github.com/taskiso/taskiso/internal/partition/change"
)

func consoleKnob() knob {
	return knob{
		name:   "printk",
		why:    "a message for a slow console is written by the CPU it comes from, or by one that waits for the console",
		source: "Documentation/admin-guide/sysctl/kernel.rst: printk",
		global: true,
		plan:   planPrintk,
		rate:   rate{perHour: 10, text: "each message for the console"},
		reads:  []string{"proc/sys/kernel/printk"},
	}
}

// planPrintk lets only emergencies reach the console. The other three levels of
// the file stay; all messages are in the log as before.
func planPrintk(h *host) (found, error) {
	const file, emergencies = "/proc/sys/kernel/printk", "1"
	var f found
	text, err := h.read(file)
	if err != nil {
		return f, err
	}
	levels := strings.Fields(text)
	if len(levels) != 4 {
		return f, fmt.Errorf("reading %s: %q are not four levels", file, text)
	}
	if levels[0] == "0" || levels[0] == emergencies {
		return f, nil
	}
	f.changes = []change.Change{{Path: file, From: text, To: strings.Join(append([]string{emergencies}, levels[1:]...), "\t"), Kind: change.Text{}}}
	return f, nil
}
