// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrNoArchive says that the machine's apt configuration names no Debian archive.
var ErrNoArchive = errors.New("the apt sources of this machine name no Debian archive")

// archives asks apt which Debian archives the machine uses; options come from tests. apt itself reads both forms of
// source lists. Without --no-release-info it names nothing before the machine's first apt-get update.
func archives(ctx context.Context, options ...string) ([]string, error) {
	out, err := run(ctx, "", "apt-get", append([]string{"indextargets", "--no-release-info",
		"--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"}, options...)...)
	if err != nil {
		return nil, err
	}
	uris := parseArchives(out)
	if len(uris) == 0 {
		return nil, ErrNoArchive
	}
	return uris, nil
}

// parseArchives keeps archives that offer main of a whole release: security and update suites live in archives of
// their own, or hold only a part.
func parseArchives(out string) []string {
	var uris []string
	seen := map[string]bool{}
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[2] != "main" || !wholeRelease(fields[1]) || seen[fields[0]] {
			continue
		}
		seen[fields[0]] = true
		uris = append(uris, fields[0])
	}
	return uris
}

func wholeRelease(suite string) bool {
	switch suite {
	case "bullseye", "bookworm", "trixie", "forky", "duke", "sid",
		"oldoldstable", "oldstable", "stable", "testing", "unstable":
		return true
	}
	return false
}

// apt is a private apt state for one package list.
type apt struct {
	dir  string
	list list
}

// newAPT prepares directory dir. Options are given in a file that apt reads after the machine's configuration: only so
// can lists of hooks be cleared.
func newAPT(dir, uri string, l list, keyring string) (apt, error) {
	a := apt{dir: dir, list: l}
	for _, sub := range []string{"lists/partial", "archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return a, fmt.Errorf("creating apt state: %w", err)
		}
	}
	files := map[string]string{
		"status":       "", // nothing is installed: dependencies are complete
		"sources.list": fmt.Sprintf("deb [arch=%s signed-by=%s] %s %s main\n", l.arch, keyring, uri, l.suite),
		"apt.conf":     aptConfig(dir, l.arch),
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return a, fmt.Errorf("writing apt state: %w", err)
		}
	}
	return a, nil
}

func aptConfig(dir, arch string) string {
	// Sandbox user: when root runs apt, user _apt would need access to the cache, which is often below a home
	// directory. DEP-11 is desktop metadata, half of the download.
	return fmt.Sprintf(`#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
Dir::State %[1]q;
Dir::State::lists "lists/";
Dir::State::status "%[1]s/status";
Dir::Cache %[1]q;
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Cache::archives "archives/";
Dir::Etc::sourcelist "%[1]s/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Architecture %[2]q;
#clear APT::Architectures;
APT::Architectures { %[2]q; };
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::ForceHash "SHA256";
Acquire::GzipIndexes "true";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::Retries "3";
Acquire::http::Timeout "30";
`, dir, arch)
}

func (a apt) command(ctx context.Context, dir string, args ...string) (string, error) {
	return run(ctx, dir, "apt-get", append([]string{"-q", "-c", filepath.Join(a.dir, "apt.conf")}, args...)...)
}

func (a apt) update(ctx context.Context) error {
	_, err := a.command(ctx, "", "update")
	return err
}

// closure returns the packages that an empty system would need for names.
func (a apt) closure(ctx context.Context, names ...string) ([]Package, error) {
	out, err := a.command(ctx, "", append([]string{"install", "--no-install-recommends", "--print-uris", "-y"}, names...)...)
	if err != nil {
		return nil, err
	}
	return parseURIs(out)
}

// parseURIs reads the lines that apt-get --print-uris writes: 'URI' FILE SIZE HASH:VALUE.
func parseURIs(out string) ([]Package, error) {
	var packages []Package
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "'") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) != 4 {
			return nil, fmt.Errorf("parsing %q of apt-get: want 4 fields", strings.TrimSpace(line))
		}
		size, err := strconv.ParseInt(fields[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("parsing size of %s: %w", fields[1], err)
		}
		sum, ok := strings.CutPrefix(fields[3], "SHA256:")
		if !ok {
			return nil, fmt.Errorf("parsing checksum of %s: %s is not a SHA256 sum", fields[1], fields[3])
		}
		packages = append(packages, Package{File: fields[1], Size: size, SHA256: sum})
	}
	if len(packages) == 0 {
		return nil, errors.New("apt-get named no packages")
	}
	return packages, nil
}

// name is the package's name without version and architecture.
func (p Package) name() string {
	name, _, _ := strings.Cut(p.File, "_")
	return name
}

// download puts the files of packages into dir and verifies them.
func (a apt) download(ctx context.Context, dir string, packages []Package) error {
	args := []string{"download"}
	for _, p := range packages {
		args = append(args, p.name())
	}
	if _, err := a.command(ctx, dir, args...); err != nil {
		return err
	}
	for _, p := range packages {
		if err := p.verify(dir); err != nil {
			return err
		}
	}
	return nil
}

func run(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("running %s: %w\n%s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}
