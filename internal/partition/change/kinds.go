// SPDX-License-Identifier: Apache-2.0

package change

import (
	"encoding/json"
	"fmt"
)

// kinds are all of them: a kind that is not here cannot be read from a journal.
func kinds() []Kind {
	return []Kind{
		Text{}, Choice{}, List{}, Mask{}, Controller{}, Partition{}, Directory{}, Slice{}, Cycle{}, Affinity{}, Schema{}, Banned{},
	}
}

// UnmarshalJSON reads a change of a journal, whose kind stands there by its name.
func (c *Change) UnmarshalJSON(text []byte) error {
	type plain Change
	read := struct {
		*plain
		Form string `json:"form"`
	}{plain: (*plain)(c)}
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	for _, kind := range kinds() {
		if name, err := kind.MarshalText(); err == nil && string(name) == read.Form {
			c.Kind = kind
			return nil
		}
	}
	return fmt.Errorf("a change of the kind %q: another version of taskiso made it; use that one", read.Form)
}
