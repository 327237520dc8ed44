// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
)

// verify compares the package's file in dir with the checksum in the signed package list.
func (p Package) verify(dir string) error {
	f, err := os.Open(filepath.Join(dir, p.File))
	if err != nil {
		return fmt.Errorf("opening downloaded package: %w", err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return fmt.Errorf("reading %s: %w", p.File, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != p.SHA256 {
		return fmt.Errorf("verifying %s: SHA256 is %s, the archive lists %s", p.File, got, p.SHA256)
	}
	return nil
}

// unpack writes the members of a .deb that keep accepts to directory dst. dpkg-deb -x would keep owners and setuid
// bits of programs nobody wants in a cache.
func unpack(ctx context.Context, deb, dst string, keep func(name string) bool) error {
	root, err := os.OpenRoot(dst)
	if err != nil {
		return fmt.Errorf("unpacking %s: %w", deb, err)
	}
	defer root.Close()

	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("unpacking %s: %w", deb, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting dpkg-deb: %w", err)
	}
	err = unpackTar(tar.NewReader(out), root, keep)
	// Whatever is left after the end of the archive has to be read, else dpkg-deb dies of SIGPIPE.
	_, drainErr := io.Copy(io.Discard, out)
	if err := errors.Join(err, drainErr, cmd.Wait()); err != nil {
		return fmt.Errorf("unpacking %s: %w", deb, err)
	}
	return nil
}

func unpackTar(in *tar.Reader, root *os.Root, keep func(name string) bool) error {
	for {
		header, err := in.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		name := path.Clean(header.Name)
		if !keep(name) {
			continue
		}
		if err := unpackMember(in, root, name, header); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
}

func unpackMember(in io.Reader, root *os.Root, name string, header *tar.Header) error {
	if header.Typeflag == tar.TypeDir {
		return root.MkdirAll(name, 0o755)
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	switch header.Typeflag {
	case tar.TypeSymlink:
		return root.Symlink(header.Linkname, name)
	case tar.TypeLink:
		return root.Link(path.Clean(header.Linkname), name)
	case tar.TypeReg:
		return unpackFile(in, root, name, header.FileInfo().Mode().Perm()&0o755|0o600)
	}
	return fmt.Errorf("unexpected type %q", header.Typeflag)
}

func unpackFile(in io.Reader, root *os.Root, name string, mode os.FileMode) error {
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, in); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
