// SPDX-License-Identifier: Apache-2.0

// Command taskiso isolates tasks on CPUs of their own and reports what interrupts them.
package main

import (
	"os"

	"github.com/taskiso/taskiso/internal/cli"
	"github.com/taskiso/taskiso/internal/launch"
	"github.com/taskiso/taskiso/internal/loop"
)

func main() {
	switch {
	case launch.IsStub():
		os.Exit(launch.Stub())
	case loop.IsLoop():
		os.Exit(loop.Main())
	}
	os.Exit(cli.Main(os.Args[1:]))
}
