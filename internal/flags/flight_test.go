// SPDX-License-Identifier: Apache-2.0

package flags

import (
	"testing"
	"time"
)

func TestWindow(t *testing.T) {
	for text, want := range map[string]Window{
		"64M,120s": {64 << 20, Duration(2 * time.Minute)},
		"1G,2h":    {1 << 30, Duration(2 * time.Hour)},
		"1024K,30": {1 << 20, Duration(30 * time.Second)},
	} {
		var w Window
		if err := w.Set(text); err != nil || w != want {
			t.Errorf("%s: %+v, %v", text, w, err)
		}
		var again Window
		if err := again.Set(w.String()); err != nil || again != w {
			t.Errorf("%s is written as %s: %v", text, w.String(), err)
		}
	}
	for _, text := range []string{"", "64M", "64M,", ",1s", "-1M,1s", "0,1s", "64M,-1s", "9999999999999G,1s", "64M,1s,1s", "1T,1s"} {
		var w Window
		if err := w.Set(text); err == nil {
			t.Errorf("%q is %+v", text, w)
		}
	}
}
