// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
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
	var o machineOptions
	var capture, cpus string
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this kernel and these privileges can give",
		Long: `doctor tries every feature that taskiso can use and says, line by line, whether
it is there, what it gives, and why not where it is not. It changes nothing.

The exit status is 0 if kernel entries can be seen, and 1 if something needed
for that is missing.

With --capture it instead writes what "taskiso partition plan" reads to an
archive. Unpacked, the archive is a machine for its option --host. It holds
settings, the kernel's command line and mounts, and irqbalance's configuration,
but of processes no more than irqbalance's number.

With -c it instead grades the machine for isolating these CPUs: each thing that
will interrupt them, how often, and whether "taskiso partition create" ends it
now, only other words on the kernel's command line do, or nothing. How often is
what the kernel's settings say, or in words what it depends on; "taskiso watch"
measures it. The exit status is then 0 if nothing is left, and else 1.`,
		Example: `  taskiso doctor
  taskiso doctor -c 2-3
  taskiso doctor --capture machine.tar.gz`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			switch {
			case capture != "":
				return p.capture(capture)
			case cpus != "":
				return p.grade(&o, cpus)
			case o.host != "":
				return usageError("--host %s: say with -c which CPUs of the captured machine to grade", o.host)
			}
			return p.doctor(o.json)
		},
	}
	c.Flags().StringVar(&capture, "capture", "", "write the settings of this machine to `FILE`, a .tar.gz archive")
	c.Flags().StringVarP(&cpus, "cpus", "c", "", "grade the machine for isolating these `CPUS`")
	o.register(c)
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

// grade says what will interrupt CPUs.
func (p *program) grade(o *machineOptions, cpus string) (err error) {
	files, done, err := p.openMachine(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	g, err := partition.NewGrade(partition.Spec{CPUs: cpus}, files.View())
	if err != nil {
		return specProblem(err)
	}
	if err := p.print(o.json, g, g.WriteText); err != nil {
		return err
	}
	if len(g.Hazards) > 0 {
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
