// SPDX-License-Identifier: Apache-2.0

package task

import (
	"fmt"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/taskiso/taskiso/internal/launch"
	"github.com/taskiso/taskiso/internal/printable"
)

// AssumeUser lets a command run as the named user, with the environment
// variables that name a user set to that one.
func AssumeUser(c *launch.Command, name string) error {
	u, err := lookupUser(name)
	if err != nil {
		return err
	}
	groups, err := groupsOf(u)
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
	if u.Username == "" {
		return nil
	}
	c.Env = append(c.Env, "HOME="+u.HomeDir, "USER="+u.Username, "LOGNAME="+u.Username)
	return nil
}

// lookupUser returns the user of a name or a number. A number need not have a user: its group is the same number then.
func lookupUser(name string) (*user.User, error) {
	u, err := user.Lookup(name)
	if err == nil {
		return u, nil
	}
	if _, notNumber := strconv.ParseUint(name, 10, 32); notNumber != nil {
		return nil, &RequestError{fmt.Errorf("--user %s: there is no such user", printable.Word(name))}
	}
	if u, err = user.LookupId(name); err == nil {
		return u, nil
	}
	return &user.User{Uid: name, Gid: name}, nil
}

func groupsOf(u *user.User) ([]string, error) {
	if u.Username == "" {
		return nil, nil
	}
	return u.GroupIds()
}
