// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// CacheVariable is the environment variable that moves the cache.
const CacheVariable = "TASKISO_CACHE"

// ErrNotSetUp is returned by [Load] when Setup never completed in this cache.
var ErrNotSetUp = errors.New(`no kernels in the cache, run "go run ./internal/vmtest/cmd/vmsetup" in the repository`)

const manifestFile = "manifest.json"

// CacheDir returns the directory that Setup fills: $TASKISO_CACHE, or taskiso in the user's cache directory.
func CacheDir() (string, error) {
	if dir := os.Getenv(CacheVariable); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("choosing a cache directory (set %s): %w", CacheVariable, err)
	}
	return filepath.Join(dir, "taskiso"), nil
}

// Lock waits until this process alone holds the lock file at path, or ctx ends. The lock dies with the process.
func Lock(ctx context.Context, path string) (unlock func(), err error) {
	for {
		unlock, err := TryLock(path)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return unlock, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for lock %s: %w", path, ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// TryLock is Lock without the wait: an error that is [unix.EWOULDBLOCK] says that another process holds the lock.
func TryLock(path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("creating the directory of lock %s: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}

// Load returns what Setup left in the cache directory dir. The error is [ErrNotSetUp] if it left nothing.
func Load(dir string) (*Manifest, error) {
	data, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotSetUp
	}
	if err != nil {
		return nil, fmt.Errorf("reading manifest: %w", err)
	}
	m := &Manifest{dir: dir}
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("parsing %s (remove it to start anew): %w", filepath.Join(dir, manifestFile), err)
	}
	for name, kernel := range m.Kernels {
		kernel.Row = name
		m.Kernels[name] = kernel
	}
	return m, nil
}

func (m *Manifest) save() error {
	data, err := json.MarshalIndent(m, "", "\t")
	if err != nil {
		return fmt.Errorf("encoding manifest: %w", err)
	}
	path := filepath.Join(m.dir, manifestFile)
	if err := os.WriteFile(path+".new", data, 0o644); err != nil {
		return fmt.Errorf("writing manifest: %w", err)
	}
	return os.Rename(path+".new", path)
}
