// SPDX-License-Identifier: Apache-2.0

package change

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/kernfs"
)

func TestText(t *testing.T) {
	c := Change{Path: "/f", From: "1\t4", To: "0", Kind: Text{}}
	m := files("/f", "1\t4\n")
	roundTrip(t, m, c)
	m.did(t, "write /f 0", "write /f 1\t4")
	check(t, c, map[string]Place{"1\t4": AsBefore, "0\n": AsAfter, "2": AsForeign}, "/f: 1 4 → 0")
	m.files["/f"] = "7"
	if _, err := c.Ready(m); !errors.Is(err, ErrForeign) {
		t.Errorf("of another value: %v, want ErrForeign", err)
	}
	m.shown = map[string]string{"/f": "7"}
	if err := c.Apply(m); !errors.Is(err, kernfs.ErrNotTaken) {
		t.Errorf("not taken: %v, want ErrNotTaken", err)
	}
}

func TestTo(t *testing.T) {
	if got := To("0", "/f", "0\n", Text{}); got != nil {
		t.Errorf("it has the value already: %v", got)
	}
	if got := To("never", "/f", "always [madvise] never\n", Choice{}); len(got) != 1 || got[0].From != "madvise" {
		t.Errorf("%+v, want a change from madvise", got)
	}
}

func TestRefused(t *testing.T) {
	c := Change{MayFail: true}
	for _, err := range []error{unix.EIO, unix.EPERM, unix.EBUSY, errHousekeeping} {
		if !c.Refused(err) || (Change{}).Refused(err) {
			t.Errorf("%v: refused %v with MayFail, %v without", err, c.Refused(err), Change{}.Refused(err))
		}
	}
	if c.Refused(unix.EINVAL) || c.Refused(nil) {
		t.Error("EINVAL, or no error, is taken for a refusal")
	}
}
