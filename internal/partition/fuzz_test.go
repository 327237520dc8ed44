// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"testing"

	"github.com/taskiso/taskiso/internal/specfile"
)

// FuzzParseSpec: every mistake has a place in the text.
func FuzzParseSpec(f *testing.F) {
	f.Add("name = \"dpdk\"\ncpus = \"2-3\"\ncycle = true\ncache_ways = 4\nskip = [\"thp\"]\n")
	f.Add("[cpus]\nx = 1\n")
	f.Add("'cp\u0075s' = 3\n")
	f.Fuzz(func(t *testing.T, text string) {
		_, err := ParseSpec("f", text)
		var mistake *specfile.Error
		if err != nil && (!errors.As(err, &mistake) || mistake.Line < 1 || mistake.Column < 1) {
			t.Errorf("%q: %v", text, err)
		}
	})
}

// FuzzParseJournal: whatever a file has become, reading it ends, and what is kept of
// it is no longer than it was.
func FuzzParseJournal(f *testing.F) {
	f.Add([]byte(`{"schema":1,"name":"x","cpus":"2"}` + "\n" + `{"change":{"path":"/a","from":"1","to":"2","form":"text"}}` + "\n" + `{"complete":true}` + "\n"))
	f.Add([]byte("{}\n{\"refused\":true}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		j, err := parseJournal(text)
		if err == nil && j.size > int64(len(text)) {
			t.Errorf("%q: %d bytes are kept", text, j.size)
		}
	})
}
