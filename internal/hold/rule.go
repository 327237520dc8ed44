// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"fmt"
	"os/user"
	"path"
	"strconv"
	"strings"

	"github.com/taskiso/taskiso/internal/hold/operation"
)

// Rule allows the processes that match all its conditions.
type Rule struct {
	Command string // name of the thread, with * and ? as in a shell
	UID     *uint32
	Cgroup  string // this one and those below it
}

// ParseRule reads "comm=nft uid=0 cgroup=/system.slice": one term or more, with
// spaces or commas between them.
func ParseRule(text string) (Rule, error) {
	var r Rule
	terms := strings.FieldsFunc(text, func(c rune) bool { return c == ' ' || c == ',' })
	if len(terms) == 0 {
		return r, fmt.Errorf("an empty rule would allow everybody: want comm=NAME, uid=USER or cgroup=PATH")
	}
	for _, term := range terms {
		if err := r.add(term); err != nil {
			return Rule{}, fmt.Errorf("rule %q: %w", text, err)
		}
	}
	return r, nil
}

func (r *Rule) add(term string) error {
	key, value, _ := strings.Cut(term, "=")
	if value == "" {
		return fmt.Errorf("%q: want comm=NAME, uid=USER or cgroup=PATH", term)
	}
	switch key {
	case "comm":
		if _, err := path.Match(value, ""); err != nil {
			return fmt.Errorf("%q is not a pattern: %w", value, err)
		}
		r.Command = value
	case "uid":
		uid, err := userNumber(value)
		if err != nil {
			return err
		}
		r.UID = &uid
	case "cgroup":
		if !path.IsAbs(value) {
			return fmt.Errorf("cgroup %q: want the path of /proc/PID/cgroup, which begins with /", value)
		}
		r.Cgroup = path.Clean(value)
	default:
		return fmt.Errorf("unknown key %q: want comm, uid or cgroup", key)
	}
	return nil
}

func userNumber(text string) (uint32, error) {
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		return uint32(n), nil
	}
	u, err := user.Lookup(text)
	if err != nil {
		return 0, fmt.Errorf("unknown user %q", text)
	}
	n, err := strconv.ParseUint(u.Uid, 10, 32)
	return uint32(n), err
}

// allows reports whether the process of r matches the rule.
func (r Rule) allows(who operation.Record) bool {
	if r.Command != "" {
		if ok, _ := path.Match(r.Command, who.Command); !ok { // ParseRule has tried the pattern
			return false
		}
	}
	if r.UID != nil && *r.UID != who.UID {
		return false
	}
	return r.Cgroup == "" || r.Cgroup == "/" || who.Cgroup == r.Cgroup || strings.HasPrefix(who.Cgroup, r.Cgroup+"/")
}
