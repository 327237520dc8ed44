// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestUnpackTar(t *testing.T) {
	dir := t.TempDir()
	err := unpackInto(t, dir,
		tar.Header{Name: "./usr/", Typeflag: tar.TypeDir, Mode: 0o755},
		tar.Header{Name: "./usr/bin/su", Typeflag: tar.TypeReg, Mode: 0o4755, Size: 4},
		tar.Header{Name: "./usr/bin/hard", Typeflag: tar.TypeLink, Linkname: "./usr/bin/su"},
		tar.Header{Name: "./usr/lib/so", Typeflag: tar.TypeSymlink, Linkname: "../bin/su"},
		tar.Header{Name: "./usr/share/doc/x", Typeflag: tar.TypeReg, Mode: 0o644, Size: 4},
	)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "usr/lib/so"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o755 || info.Size() != 4 {
		t.Errorf("usr/bin/su is %v with %d bytes, want it without setuid", info.Mode(), info.Size())
	}
	if _, err := os.Stat(filepath.Join(dir, "usr/share")); err == nil {
		t.Error("a member that was not wanted is there")
	}
}

func TestUnpackTarStaysInside(t *testing.T) {
	outside := t.TempDir()
	for _, headers := range [][]tar.Header{
		{{Name: "../../evil", Typeflag: tar.TypeReg, Mode: 0o644, Size: 4}},
		{
			{Name: "usr", Typeflag: tar.TypeSymlink, Linkname: outside},
			{Name: "usr/evil", Typeflag: tar.TypeReg, Mode: 0o644, Size: 4},
		},
		{{Name: "dev/null", Typeflag: tar.TypeChar}},
	} {
		if err := unpackInto(t, t.TempDir(), headers...); err == nil {
			t.Errorf("unpacking %+v gave no error", headers)
		}
	}
	if entries, _ := os.ReadDir(outside); len(entries) > 0 {
		t.Errorf("written outside: %v", entries)
	}
}

func unpackInto(t *testing.T, dir string, headers ...tar.Header) error {
	t.Helper()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, header := range headers {
		if err := w.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(bytes.Repeat([]byte{'x'}, int(header.Size))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	return unpackTar(tar.NewReader(&archive), root, func(name string) bool {
		return !strings.HasPrefix(name, "usr/share/")
	})
}

func TestVerify(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a_1_all.deb"), []byte("taskiso\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// printf 'taskiso\n' | sha256sum
	good := Package{File: "a_1_all.deb", SHA256: "180f929d128d9d41373e85ebe5f21805f3859981f967513a5c6c2975cab528a5"}
	if err := good.verify(dir); err != nil {
		t.Error(err)
	}
	bad := Package{File: "a_1_all.deb", SHA256: sha}
	if err := bad.verify(dir); err == nil {
		t.Error("a wrong checksum was accepted")
	}
}
