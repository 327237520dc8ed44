// SPDX-License-Identifier: Apache-2.0

package record

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// Files are files of the machine as they were. It is a file tree of which only what was captured can be read, and of all else
// it is not known whether it was there.
type Files struct {
	Patterns []string           `json:"patterns"` // of the names of all files that were looked for
	Found    map[string]Content `json:"found"`    // by name, without the leading slash
}

// Content is what a file held, or why it could not be read.
type Content struct {
	Text       string `json:"text,omitempty"`
	Unreadable string `json:"unreadable,omitempty"`
}

// Bounds of what is captured: settings are short, and a machine has some thousand CPUs.
const (
	maxFile  = 1 << 16
	maxFiles = 1 << 14
)

// Capture reads all files that the patterns name.
func Capture(files fs.FS, patterns []string) Files {
	captured := Files{Found: make(map[string]Content)}
	for _, pattern := range patterns {
		names, err := fs.Glob(files, pattern)
		if err != nil || len(captured.Found)+len(names) > maxFiles {
			continue // that is unknown then
		}
		captured.Patterns = append(captured.Patterns, pattern)
		for _, name := range names {
			captured.Found[name] = contentOf(files, name)
		}
	}
	return captured
}

func contentOf(files fs.FS, name string) Content {
	info, err := fs.Stat(files, name)
	if err == nil && info.IsDir() {
		return Content{Unreadable: "it is a directory"}
	}
	text, err := fs.ReadFile(files, name)
	if err != nil {
		return Content{Unreadable: err.Error()}
	}
	if len(text) > maxFile {
		return Content{Unreadable: "it is too long to be kept"}
	}
	return Content{Text: string(text)}
}

// Open opens a file.
func (f Files) Open(name string) (fs.File, error) {
	c, ok := f.Found[name]
	switch {
	case !ok:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case c.Unreadable != "":
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New(c.Unreadable)}
	}
	return &file{Reader: strings.NewReader(c.Text), name: path.Base(name)}, nil
}

// errNotCaptured means that it is not known which files match.
var errNotCaptured = errors.New("the recording does not tell")

// Glob returns the files that match a pattern, also those that could not be read. A pattern that was not looked for is an error.
func (f Files) Glob(pattern string) ([]string, error) {
	if !slices.Contains(f.Patterns, pattern) {
		return nil, errNotCaptured
	}
	var names []string
	for name := range f.Found {
		matches, err := path.Match(pattern, name)
		if err != nil {
			return nil, err
		}
		if matches {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// file is one of Files that is open, and what is known of it.
type file struct {
	*strings.Reader
	name string
}

func (f *file) Stat() (fs.FileInfo, error) { return f, nil }
func (f *file) Close() error               { return nil }

func (f *file) Name() string       { return f.name }
func (f *file) Mode() fs.FileMode  { return 0o444 }
func (f *file) ModTime() time.Time { return time.Time{} }
func (f *file) IsDir() bool        { return false }
func (f *file) Sys() any           { return nil }
