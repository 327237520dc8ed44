// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/entries"
	"github.com/taskiso/taskiso/internal/feature"
)

func (p *program) entriesCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "entries",
		Short: "List this kernel's entry points and how each one is observed",
		Long: `entries lists every entry point of this kernel and how it is observed: by an event of
its own, by context tracking on nohz_full CPUs (which reports that the kernel was
entered, but not the cause), only by a counter in /proc/interrupts, or not at all.
The list goes to standard output.`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return p.entries(asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (p *program) entries(asJSON bool) error {
	list, err := entries.Here(p.files.View(), feature.Usable(p.files.View()))
	if err != nil {
		return err
	}
	if asJSON {
		err = display.JSON(p.stdout, list)
	} else {
		_, err = io.WriteString(p.text(p.stdout), list.Text())
	}
	if err != nil {
		return fmt.Errorf("writing the entry points: %w", err)
	}
	return nil
}
