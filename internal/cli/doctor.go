// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/taskiso/taskiso/internal/entries"
	"github.com/taskiso/taskiso/internal/feature"
	"github.com/taskiso/taskiso/internal/partition"
	"github.com/taskiso/taskiso/internal/report"
)

// exitMissing is doctor's status when something needed is missing.
const exitMissing = 1

func (p *program) doctorCommand() *cobra.Command {
	var asJSON bool
	var capture string
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this kernel and these privileges can give",
		Long: `doctor tries every feature that taskiso can use and says, line by line, whether
it is there, what it gives, and why not where it is not. It changes nothing.

The exit status is 0 if kernel entries can be seen, and 1 if something needed
for that is missing.

With --capture it instead writes what "taskiso partition plan" reads to an
archive. Unpacked, the archive is a machine for its option --host. It holds
settings, the kernel's command line and mounts, nothing of processes.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if capture != "" {
				return p.capture(capture)
			}
			return p.doctor(asJSON)
		},
	}
	c.Flags().StringVar(&capture, "capture", "", "write the settings of this machine to `FILE`, a .tar.gz archive")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (p *program) doctor(asJSON bool) error {
	list := feature.All(p.files.View())
	var err error
	if asJSON {
		out := json.NewEncoder(p.stdout)
		out.SetIndent("", "  ")
		err = out.Encode(map[string]any{"schema": 1, "can_trace": feature.CanTrace(list), "features": list})
	} else {
		err = p.printDoctor(list)
	}
	if err != nil {
		return fmt.Errorf("writing the answers: %w", err)
	}
	if !feature.CanTrace(list) {
		return &status{code: exitMissing}
	}
	return nil
}

// capture writes an archive that appears whole or not at all.
func (p *program) capture(target string) error {
	file, err := report.Create(target)
	if err != nil {
		return err
	}
	unread, err := partition.Capture(file, p.files.View())
	if err != nil {
		file.Discard()
		return fmt.Errorf("writing %s: %w", target, err)
	}
	if err := file.Publish(); err != nil {
		return err
	}
	for _, path := range unread {
		fmt.Fprintln(p.stderr, "taskiso: left out, as it cannot be read:", path)
	}
	return nil
}

func (p *program) printDoctor(list []feature.Feature) error {
	rows := make([][]string, 0, len(list))
	for _, f := range list {
		what := f.Gives
		if f.Answer != feature.Yes {
			what += ": " + f.Reason
		}
		rows = append(rows, []string{string(f.Answer), f.Name, what})
		if f.Next != "" {
			rows = append(rows, []string{"", "", "→ " + f.Next})
		}
	}
	if err := report.WriteTable(p.stdout, rows); err != nil {
		return err
	}
	verdict := "Kernel entries can be seen."
	if !feature.CanTrace(list) {
		verdict = "Kernel entries cannot be seen: something needed is missing. \"taskiso run\" still runs commands and reports what else it can."
	}
	_, err := fmt.Fprintln(p.stdout, "\n"+verdict+p.blindEntries())
	return err
}

// blindEntries says how many ways into the kernel nothing shows.
func (p *program) blindEntries() string {
	e, err := p.readEntries()
	if err != nil {
		return "\nWhich ways into the kernel are not seen is not known: " + err.Error()
	}
	return fmt.Sprintf("\n%d of %d ways into this kernel are blind: \"taskiso entries\" lists them.",
		entries.Count(e.Points, entries.Blind), len(e.Points))
}
