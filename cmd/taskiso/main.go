// SPDX-License-Identifier: Apache-2.0

// Command taskiso isolates tasks on CPUs of their own and says what interrupts them.
package main

import (
	"os"

	"github.com/taskiso/taskiso/internal/cli"
	"github.com/taskiso/taskiso/internal/launch"
)

func main() {
	switch {
	case launch.IsStub():
		os.Exit(launch.Stub())
	case cli.IsLoop():
		os.Exit(cli.Loop())
	}
	os.Exit(cli.Main(os.Args[1:]))
}
