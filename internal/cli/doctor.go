// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/entries"
	"github.com/taskiso/taskiso/internal/feature"
	"github.com/taskiso/taskiso/internal/partition"
	"github.com/taskiso/taskiso/internal/printable"
)

// exitMissing is doctor's status when something needed is missing.
const exitMissing = 1

func (p *program) doctorCommand() *cobra.Command {
	var o machineOptions
	var capture, cpus string
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Show which features work with this kernel and your privileges",
		Long: `doctor tries every feature that taskiso can use and prints a line for each: whether
it works, what it gives, and if it does not work, why. It changes nothing.

The exit status is 0 if kernel entries can be seen, and 1 if something needed
for that is missing.

With --capture it instead writes what "taskiso partition plan" reads to an
archive. Unpacked, the archive is a machine for its option --host. It holds
settings, the kernel's command line and mounts, and irqbalance's configuration.
The only process information in it is irqbalance's PID and the name of process 1.

With -c it instead grades the machine for isolating these CPUs: each thing that
will interrupt them, how often, and whether "taskiso partition create" ends it
now, a boot parameter would, or nothing can. A cause that cannot be known is
"unknown", and a setting that a container cannot write is "elsewhere". Rates are
taken from kernel settings, or described in words; "taskiso watch" measures them.
The exit status is then 0 if nothing is left, and 1 otherwise.`,
		Example: `  taskiso doctor
  taskiso doctor -c 2-3
  taskiso doctor --capture machine.tar.gz`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			switch {
			case capture != "":
				return p.capture(capture)
			case cpus != "":
				return p.grade(&o, cpus)
			case o.host != "":
				return usageError("--host %s: name the CPUs of the captured machine with -c", o.host)
			}
			return p.doctor(o.json)
		},
	}
	c.Flags().StringVar(&capture, "capture", "", "write the settings of this machine to `FILE`, a .tar.gz archive")
	c.Flags().StringVarP(&cpus, "cpus", "c", "", "grade the machine for isolating these `CPUS`")
	o.register(c)
	return c
}

// doctorAnswers is what doctor prints as JSON.
type doctorAnswers struct {
	Schema   int               `json:"schema"`
	CanTrace bool              `json:"can_trace"` // whether kernel entries can be seen
	Features []feature.Feature `json:"features"`  // everything that was tried
}

func (p *program) doctor(asJSON bool) error {
	list := feature.All(p.files.View())
	var err error
	if asJSON {
		err = display.JSON(p.stdout, doctorAnswers{1, feature.CanTrace(list), list})
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

// grade prints what will interrupt CPUs.
func (p *program) grade(o *machineOptions, cpus string) error {
	return p.withStore(o, false, func(_ context.Context, s *partition.Store) error {
		g, err := s.Grade(partition.Spec{CPUs: cpus})
		if err != nil {
			return err
		}
		if err := p.print(o.json, g, g.WriteText); err != nil {
			return err
		}
		if len(g.Hazards) > 0 {
			return &status{code: exitMissing}
		}
		return nil
	})
}

// capture writes an archive that appears whole or not at all.
func (p *program) capture(target string) error {
	var unread []string
	err := display.Publish(target, func(w io.Writer) (err error) {
		unread, err = partition.Capture(w, p.files.View())
		return err
	})
	if err != nil {
		return err
	}
	for _, path := range unread {
		fmt.Fprint(p.stderr, printable.Line("taskiso: left out, as it cannot be read: %s", path))
	}
	return nil
}

func (p *program) printDoctor(list []feature.Feature) error {
	if err := display.WriteTable(p.text(p.stdout), feature.Rows(list)); err != nil {
		return err
	}
	verdict := "Kernel entries can be seen."
	if !feature.CanTrace(list) {
		verdict = "Kernel entries cannot be seen: something needed is missing. \"taskiso run\" still runs commands and reports what else it can."
	}
	_, err := fmt.Fprintln(p.text(p.stdout), "\n"+verdict+p.blindEntries())
	return err
}

// blindEntries counts, in a sentence, the ways into the kernel that nothing shows.
func (p *program) blindEntries() string {
	e, err := entries.Here(p.files.View(), feature.Usable(p.files.View()))
	if err != nil {
		return "\nWhich ways into the kernel are not seen is not known: " + printable.Text(err.Error())
	}
	return fmt.Sprintf("\n%d of %d ways into this kernel are blind: \"taskiso entries\" lists them.",
		entries.Count(e.Points, entries.Blind), len(e.Points))
}
