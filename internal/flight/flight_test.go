// SPDX-License-Identifier: Apache-2.0

package flight

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskiso/taskiso/internal/report"
)

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

func open(t *testing.T, name string, room int64) *Directory {
	t.Helper()
	d, err := OpenDirectory(name, room)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// A snapshot gets its name when it is whole, and is its owner's. What is not whole leaves nothing behind.
func TestSave(t *testing.T) {
	name := filepath.Join(t.TempDir(), "snapshots")
	d := open(t, name, 1000)
	file, err := d.Save(text("hello"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode() != 0o600 || filepath.Dir(file) != name {
		t.Errorf("%s: %v, %v", file, info, err)
	}
	failed := errors.New("failed")
	if _, err := d.Save(func(w io.Writer) error { io.WriteString(w, "half"); return failed }); !errors.Is(err, failed) {
		t.Errorf("err = %v", err)
	}
	if entries, _ := os.ReadDir(name); len(entries) != 1 {
		t.Errorf("%v", entries)
	}
}

// All snapshots in a directory, also those of others before, have so much room, and no more.
func TestRoom(t *testing.T) {
	name := t.TempDir()
	if err := os.WriteFile(filepath.Join(name, "other"), make([]byte, 5000), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, name, 1000).Save(text(strings.Repeat("x", 600))); err != nil {
		t.Fatal(err)
	}
	d := open(t, name, 1000)
	if _, err := d.Save(text(strings.Repeat("x", 600))); !errors.Is(err, ErrFull) {
		t.Errorf("err = %v", err)
	}
	if _, err := d.Save(text(strings.Repeat("x", 400))); err != nil {
		t.Error(err)
	}
	if _, err := d.Save(text("x")); !errors.Is(err, ErrFull) {
		t.Errorf("err = %v", err)
	}
	if entries, _ := os.ReadDir(name); len(entries) != 3 {
		t.Errorf("%v", entries)
	}
}

// A directory in which others can write is refused, and one that another gets its name does not get snapshots.
func TestDirectoryOfOthers(t *testing.T) {
	top := t.TempDir()
	shared, foreign, file := filepath.Join(top, "shared"), filepath.Join(top, "foreign"), filepath.Join(top, "file")
	if err := errors.Join(os.Mkdir(shared, 0o700), os.Chmod(shared, 0o777), os.Mkdir(foreign, 0o755), os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	refused := []string{shared, file, filepath.Join(top, "none", "none")}
	if os.Geteuid() == 0 {
		if err := os.Chown(foreign, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		refused = append(refused, foreign)
	}
	for _, name := range refused {
		if d, err := OpenDirectory(name, 1); err == nil {
			d.Close()
			t.Errorf("%s is taken", name)
		}
	}
	own := filepath.Join(top, "own")
	d := open(t, own, 1000)
	if err := errors.Join(os.Rename(own, own+".moved"), os.Symlink(shared, own)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Save(text("x")); err != nil {
		t.Error(err)
	}
	if entries, _ := os.ReadDir(shared); len(entries) != 0 {
		t.Errorf("redirected: %v", entries)
	}
	if entries, _ := os.ReadDir(own + ".moved"); len(entries) != 1 {
		t.Errorf("%v", entries)
	}
}

// Whoever asks gets the answer to it, and a socket that nobody listens to is not one.
func TestAsk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), Sockets)
	if _, err := Ask(dir, 0); !errors.Is(err, ErrNone) {
		t.Errorf("without a directory: %v", err)
	}
	s, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for i := range 2 {
			(<-s.Asked()).Answer(report.Kept{File: "file", Trigger: []string{"first", "second"}[i]})
		}
	}()
	for i, pid := range []int{0, os.Getpid()} {
		if k, err := Ask(dir, pid); err != nil || k.File != "file" || k.Trigger != []string{"first", "second"}[i] {
			t.Errorf("%+v, %v", k, err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "1.sock"), nil, 0o600); err != nil { // process 1 is there
		t.Fatal(err)
	}
	if _, err := Ask(dir, 0); os.Geteuid() == 0 && !errors.Is(err, ErrSeveral) {
		t.Errorf("with two: %v", err)
	}
	os.Remove(filepath.Join(dir, "1.sock"))
	s.Close()
	if _, err := Ask(dir, os.Getpid()); err == nil || !strings.Contains(err.Error(), "has no flight recorder") {
		t.Errorf("after its end: %v", err)
	}
	if _, err := Ask(dir, 0); err == nil {
		t.Error("after its end it is found")
	}
}

// A recorder that ends before it has answered is an error, and what answers anything else is as well.
func TestNoAnswer(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "1.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for _, answer := range []string{"", "no JSON", strings.Repeat("x", 1<<20)} {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, answer)
			c.Close()
		}
	}()
	for range 3 {
		if _, err := Ask(dir, 1); err == nil || !strings.Contains(err.Error(), "ended before") {
			t.Errorf("err = %v", err)
		}
	}
}

func TestConditions(t *testing.T) {
	c, err := ParseConditions([]string{"longest>5ns", "cause=tick", OnLost, OnMonitor})
	if err != nil || !c.NeedMonitor() {
		t.Fatal(err)
	}
	if met := c.Break(&report.Break{ID: "tick", Duration: 6}); len(met) != 2 || met[0].Trigger != "longest>5ns" || met[1].Trigger != "cause=tick" {
		t.Errorf("%+v", met)
	}
	for _, tc := range []struct {
		now  Counts
		want string
	}{{Counts{}, ""}, {Counts{Lost: 3}, "lost"}, {Counts{Lost: 3}, ""}, {Counts{1, 4}, "monitor lost"}, {Counts{1, 4}, ""}} {
		var triggers []string
		for _, m := range c.Counted(tc.now) {
			triggers = append(triggers, m.Trigger)
		}
		if strings.Join(triggers, " ") != tc.want {
			t.Errorf("%+v: %q, want %q", tc.now, triggers, tc.want)
		}
	}
	if _, err := ParseConditions([]string{"gaps"}); err == nil || !strings.Contains(err.Error(), "monitor and lost") {
		t.Errorf("err = %v", err)
	}
	if _, err := ParseConditions(make([]string, 65)); err == nil {
		t.Error("65 conditions are taken")
	}
}

// A recorder that was killed leaves its socket, which the next one removes.
func TestSocketsOfTheKilled(t *testing.T) {
	dir := filepath.Join(t.TempDir(), Sockets)
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	left, living := filepath.Join(dir, fmt.Sprint(ended.Process.Pid, socketSuffix)), filepath.Join(dir, fmt.Sprint(os.Getppid(), socketSuffix))
	for _, name := range []string{left, living} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := os.Lstat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket of a process that ended: %v", err)
	}
	if _, err := os.Lstat(living); err != nil {
		t.Errorf("the socket of another: %v", err)
	}
}
