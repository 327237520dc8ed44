// SPDX-License-Identifier: Apache-2.0

package change_test

import (
	"encoding/json"
	"fmt"

	"github.com/taskiso/taskiso/internal/partition/change"
)

// What a file shows, what it shall hold, and how its values are written give a change, which a journal keeps.
func ExampleTo() {
	const file = "/sys/kernel/mm/transparent_hugepage/enabled"
	for _, c := range change.To("never", file, "always [madvise] never", change.Choice{}) {
		fmt.Println(c)
		journal, err := json.Marshal(c)
		fmt.Println(string(journal), err)
	}
	fmt.Println(len(change.To("never", file, "always madvise [never]", change.Choice{})), "changes where it is so already")
	// Output:
	// /sys/kernel/mm/transparent_hugepage/enabled: madvise → never
	// {"path":"/sys/kernel/mm/transparent_hugepage/enabled","from":"madvise","to":"never","form":"choice"} <nil>
	// 0 changes where it is so already
}
