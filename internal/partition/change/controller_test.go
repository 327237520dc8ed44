// SPDX-License-Identifier: Apache-2.0

package change

import "testing"

func TestController(t *testing.T) {
	c := Change{Path: "/f", From: "cpu memory", To: "+cpuset", Kind: Controller{}}
	m := files("/f", "cpu memory")
	m.shown = map[string]string{"/f": "cpuset cpu memory io"} // somebody added one meanwhile
	if err := c.Apply(m); err != nil {
		t.Fatal(err)
	}
	m.shown["/f"] = "cpu memory io"
	if err := c.Restore(m); err != nil {
		t.Fatal(err)
	}
	m.did(t, "write /f +cpuset", "write /f -cpuset")
	check(t, c, map[string]Place{"cpu": AsBefore, "": AsBefore, "cpu cpuset": AsAfter}, "/f: +cpuset")
}
