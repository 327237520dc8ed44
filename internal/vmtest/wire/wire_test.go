// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

func frames() []Frame {
	return []Frame{
		{Hello: &Hello{Release: "6.12.107+deb13-cloud-amd64", Uptime: "2.87"}},
		{Output: []byte("=== RUN   TestX\n\x00\xff\r")},
		{Output: bytes.Repeat([]byte{0xff}, MaxOutput)},
		{End: &End{ExitCode: 1}},
	}
}

func encode(t testing.TB, all []Frame) []byte {
	t.Helper()
	var stream bytes.Buffer
	e := NewEncoder(&stream)
	for _, f := range all {
		if err := e.Encode(f); err != nil {
			t.Fatal(err)
		}
	}
	return stream.Bytes()
}

// decode returns the frames before the first error.
func decode(r io.Reader) (all []Frame, err error) {
	d := NewDecoder(r)
	for {
		f, err := d.Decode()
		if err != nil {
			return all, err
		}
		all = append(all, f)
	}
}

func TestRoundTrip(t *testing.T) {
	got, err := decode(iotest.OneByteReader(bytes.NewReader(encode(t, frames()))))
	if err != io.EOF || !reflect.DeepEqual(got, frames()) {
		t.Errorf("decoded %v, %v", got, err)
	}
}

func TestEveryTruncationIsNoticed(t *testing.T) {
	stream := encode(t, frames())
	for cut := range stream {
		if cut > 300 && cut < len(stream)-300 {
			continue
		}
		if _, err := decode(bytes.NewReader(stream[:cut])); !errors.Is(err, ErrTruncated) {
			t.Errorf("after %d of %d bytes the error is %v", cut, len(stream), err)
		}
	}
}

func TestEveryChangeIsNoticed(t *testing.T) {
	all := []Frame{{Output: []byte("--- PASS: TestX")}, {End: &End{}}}
	stream := encode(t, all)
	for i := range stream {
		for bit := range 8 {
			changed := bytes.Clone(stream)
			changed[i] ^= 1 << bit
			if got, err := decode(bytes.NewReader(changed)); err == io.EOF {
				t.Errorf("bit %d of byte %d changed, decoded %v", bit, i, got)
			}
		}
		lost := append(bytes.Clone(stream[:i]), stream[i+1:]...)
		if got, err := decode(bytes.NewReader(lost)); err == io.EOF {
			t.Errorf("byte %d lost, decoded %v", i, got)
		}
	}
}

func TestLostFrameIsNoticed(t *testing.T) {
	lines := bytes.SplitAfter(encode(t, frames()), []byte("\n"))
	for i := range frames() {
		lost := bytes.Join(append(append([][]byte{}, lines[:i]...), lines[i+1:]...), nil)
		if got, err := decode(bytes.NewReader(lost)); err == io.EOF {
			t.Errorf("frame %d lost, decoded %v", i, got)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, line := range map[string]string{
		"no message":   line(0, `{}`),
		"two messages": line(0, `{"End":{},"Hello":{}}`),
		"no JSON":      line(0, `{`),
		"long line":    strings.Repeat("x", 2*MaxLine),
		"empty line":   "\n",
	} {
		if got, err := decode(strings.NewReader(line)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: decoded %v, %v", name, got, err)
		}
	}
}

func line(number uint64, payload string) string {
	return string(header(number, []byte(payload))) + payload + "\n"
}

func TestReaderErrorsPass(t *testing.T) {
	if _, err := decode(iotest.ErrReader(io.ErrClosedPipe)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("error is %v", err)
	}
}

// Whatever arrives, the decoder ends with an error, and only a stream that an encoder could have written is complete.
func FuzzDecode(f *testing.F) {
	stream := encode(f, frames())
	f.Add(stream)
	f.Add(stream[:len(stream)/2])
	f.Add([]byte(line(0, `{"End":{}}`)))
	f.Add([]byte(line(0, `{"End":{},"Output":"eA=="}`)))
	f.Add([]byte("\x00\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := decode(bytes.NewReader(data))
		if err != io.EOF {
			return
		}
		if len(got) == 0 || got[len(got)-1].End == nil {
			t.Fatalf("a complete stream without an end: %v", got)
		}
		again, err := decode(bytes.NewReader(encode(t, got)))
		if err != io.EOF || !reflect.DeepEqual(again, got) {
			t.Fatalf("decoded %v, encoding that gives %v, %v", got, again, err)
		}
	})
}
