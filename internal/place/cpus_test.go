// SPDX-License-Identifier: Apache-2.0

package place

import (
	"errors"
	"testing"
	"testing/fstest"

	"github.com/taskiso/taskiso/internal/task"
)

// TestWhereThreadsMayBe: of CPUs 2-3, of which 3 has no tick, the user names those on which threads are isolated and on
// which a command starts, or they follow from the machine.
func TestWhereThreadsMayBe(t *testing.T) {
	files := fstest.MapFS{}
	for name, content := range map[string]string{"possible": "0-3", "online": "0-3", "isolated": "", "nohz_full": "3"} {
		files["sys/devices/system/cpu/"+name] = &fstest.MapFile{Data: []byte(content + "\n")}
	}
	target, err := Plan(files, Request{CPUs: "2-3", Given: true})
	if err != nil {
		t.Fatal(err)
	}
	apart := target
	apart.Apart = true
	for _, tc := range []struct {
		target                   Target
		named, isolable, startOn string // "" for a refusal
	}{
		{target, "", "3", "2-3"},
		{target, "2", "2", "2"},
		{target, "0", "", "0"},
		{target, "9", "", ""},
		{apart, "", "2-3", "2-3"},
		{apart, "2", "2", ""},
	} {
		isolable, err := tc.target.Isolable(tc.named)
		checkNamed(t, "isolable", isolable.String(), err, tc.isolable)
		startOn, err := tc.target.StartOn(tc.named)
		checkNamed(t, "start on", startOn.String(), err, tc.startOn)
	}
}

func checkNamed(t *testing.T, what, got string, err error, want string) {
	t.Helper()
	var request *task.RequestError
	switch {
	case want == "" && !errors.As(err, &request):
		t.Errorf("%s: got %s and %v, want a refusal", what, got, err)
	case want != "" && (err != nil || got != want):
		t.Errorf("%s: got %s and %v, want %s", what, got, err, want)
	}
}
