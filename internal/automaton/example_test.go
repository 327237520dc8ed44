// SPDX-License-Identifier: Apache-2.0

package automaton_test

import (
	"fmt"

	"github.com/taskiso/taskiso/internal/automaton"
)

func Example() {
	a, err := automaton.Parse(`digraph state_automaton {
		"__init_kernel" -> "kernel";
		"kernel"; "user";
		"kernel" -> "user" [ label = "user_enter" ];
		"user" -> "kernel" [ label = "user_exit" ];
		"kernel" -> "kernel" [ label = "sync" ];
	}`)
	if err != nil {
		panic(err)
	}
	m := a.Monitor()
	for _, event := range []string{"sync", "user_enter", "sync"} {
		if err := m.Event(event); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(m.Verdict())
	// Output:
	// event sync in state user
	// violated
}
