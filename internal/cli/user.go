// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/taskiso/taskiso/internal/launch"
)

// assumeUser lets a command run as the named user, with the environment
// variables that name a user set to that one.
func assumeUser(c *launch.Command, name string) error {
	u, err := user.Lookup(name)
	if err != nil {
		return usageError("looking up --user %s: %w", name, err)
	}
	groups, err := u.GroupIds()
	if err != nil {
		return fmt.Errorf("looking up the groups of %s: %w", name, err)
	}
	ids := make([]uint32, 0, len(groups)+2)
	for _, id := range append([]string{u.Uid, u.Gid}, groups...) {
		n, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return fmt.Errorf("looking up --user %s: %w", name, err)
		}
		ids = append(ids, uint32(n))
	}
	c.User = &launch.User{UID: ids[0], GID: ids[1], Groups: ids[2:]}
	c.Env = slices.DeleteFunc(c.Env, func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return name == "HOME" || name == "USER" || name == "LOGNAME"
	})
	c.Env = append(c.Env, "HOME="+u.HomeDir, "USER="+u.Username, "LOGNAME="+u.Username)
	return nil
}
