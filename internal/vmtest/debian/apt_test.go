// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const sha = "04434ff520f860423eafe4203d986a35682ce73c2f71baa39e988ca0da93ac91"

func TestParseURIs(t *testing.T) {
	out := "Reading package lists...\nNeed to get 34.4 MB of archives.\n" +
		"'http://mirror.test/pool/l/linux-image-6.12.107%2bdeb13-cloud-amd64_6.12.107-1_amd64.deb' " +
		"linux-image-6.12.107+deb13-cloud-amd64_6.12.107-1_amd64.deb 34402644 SHA256:" + sha + "\n"
	got, err := parseURIs(out)
	want := []Package{{File: "linux-image-6.12.107+deb13-cloud-amd64_6.12.107-1_amd64.deb", Size: 34402644, SHA256: sha}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("parseURIs is %v, %v; want %v", got, err, want)
	}
	if name := got[0].name(); name != "linux-image-6.12.107+deb13-cloud-amd64" {
		t.Errorf("name is %s", name)
	}
}

func TestParseURIsRefusesWhatItCannotVerify(t *testing.T) {
	for _, out := range []string{
		"",
		"'http://mirror.test/a.deb' a_1_amd64.deb 12 MD5Sum:d41d8cd98f00b204e9800998ecf8427e\n",
		"'http://mirror.test/a.deb' a_1_amd64.deb 12\n",
		"'http://mirror.test/a.deb' a_1_amd64.deb many SHA256:" + sha + "\n",
	} {
		if got, err := parseURIs(out); err == nil {
			t.Errorf("parseURIs(%q) is %v, want an error", out, got)
		}
	}
}

func TestParseArchives(t *testing.T) {
	out := "http://a.test/debian/ bookworm main\nhttp://a.test/debian/ bookworm main\n" +
		"http://a.test/debian/ bookworm-updates main\nhttp://a.test/debian/ trixie contrib\n" +
		"http://b.test/security/ bookworm-security main\nhttp://c.test/node/ nodistro main\n" +
		"https://d.test/debian/ sid main\nhttp://e.test/flat/ ./ $(COMPONENT)\n"
	want := []string{"http://a.test/debian/", "https://d.test/debian/"}
	if got := parseArchives(out); !slices.Equal(got, want) {
		t.Errorf("parseArchives is %q, want %q", got, want)
	}
}

// Both forms of source lists, on a machine that never ran apt-get update.
func TestArchivesOfAFreshMachine(t *testing.T) {
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skip("no apt-get on this machine")
	}
	for name, content := range map[string]string{
		"deb822.sources": "Types: deb\nURIs: http://mirror.test/debian\nSuites: trixie trixie-updates\nComponents: main\n",
		"oneline.list":   "deb [arch=amd64] http://mirror.test/debian trixie main contrib\ndeb-src http://mirror.test/debian trixie main\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			parts := filepath.Join(dir, "parts")
			for _, sub := range []string{"parts", "lists/partial"} {
				if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(parts, name), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
			got, err := archives(t.Context(), "-o", "Dir::State="+dir, "-o", "Dir::State::lists="+dir+"/lists/",
				"-o", "Dir::Etc::sourcelist=/dev/null", "-o", "Dir::Etc::sourceparts="+parts)
			if err != nil || !slices.Equal(got, []string{"http://mirror.test/debian/"}) {
				t.Errorf("archives are %q, %v", got, err)
			}
		})
	}
}

// What apt makes of the private configuration: nothing of the machine's own state may be left in it.
func TestPrivateStateIsPrivate(t *testing.T) {
	if _, err := exec.LookPath("apt-config"); err != nil {
		t.Skip("no apt-config on this machine")
	}
	dir := filepath.Join(t.TempDir(), "with space")
	a, err := newAPT(dir, "http://mirror.test/debian", list{"sid", "arm64"}, "/k.gpg")
	if err != nil {
		t.Fatal(err)
	}
	out, err := run(t.Context(), "", "apt-config", "-c", filepath.Join(a.dir, "apt.conf"), "shell",
		"LISTS", "Dir::State::lists/d", "STATUS", "Dir::State::status/f", "ARCHIVES", "Dir::Cache::archives/d",
		"SOURCES", "Dir::Etc::sourcelist/f", "PARTS", "Dir::Etc::sourceparts/d")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out) {
		_, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		value = strings.Trim(value, "'")
		if !strings.HasPrefix(value, dir+"/") && !strings.HasPrefix(value, "/dev/null") {
			t.Errorf("apt would use %s", line)
		}
	}
	source, err := os.ReadFile(filepath.Join(dir, "sources.list"))
	if want := "deb [arch=arm64 signed-by=/k.gpg] http://mirror.test/debian sid main\n"; err != nil || string(source) != want {
		t.Errorf("the source list is %q (%v), want %q", source, err, want)
	}
	dump, err := run(t.Context(), "", "apt-config", "-c", filepath.Join(a.dir, "apt.conf"), "dump")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(dump) {
		if strings.HasPrefix(line, "APT::Architecture") && !strings.HasSuffix(strings.TrimSpace(line), `"arm64";`) && !strings.HasSuffix(strings.TrimSpace(line), `"";`) {
			t.Errorf("packages of an architecture that was not asked for: %s", line)
		}
		if strings.Contains(line, "Post-Invoke") && !strings.Contains(line, `""`) {
			t.Errorf("a hook of the machine would run: %s", line)
		}
	}
}
