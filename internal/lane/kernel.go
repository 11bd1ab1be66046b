package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// metas are the packages that depend on the kernel's; the first one that the
// machine's Debian has is taken. Their version is in the name of what they
// depend on.
var metas = []string{"linux-image-6.12-cloud-arm64", "linux-image-cloud-arm64"}

// fresh is how long a kernel is used before a newer one is asked for.
const fresh = 14 * 24 * time.Hour

// kernel returns the path of a Debian arm64 kernel, fetched by apt unless the
// cache has a recent one. Without a net an old one will do.
func kernel(cache string) (string, error) {
	cached, age := newest(cache)
	if cached != "" && age < fresh {
		return cached, nil
	}
	path, err := fetch(cache)
	if err != nil && cached != "" {
		fmt.Fprintf(os.Stderr, "lane: no newer kernel: %v\n", err)
		return cached, nil
	}
	return path, err
}

// newest is the kernel that was fetched last.
func newest(cache string) (path string, age time.Duration) {
	names, _ := filepath.Glob(filepath.Join(cache, "kernel", "vmlinuz-*"))
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			continue
		}
		if a := time.Since(info.ModTime()); path == "" || a < age {
			path, age = name, a
		}
	}
	return path, age
}

// apt runs apt tools for arm64 with lists and state of its own: the machine's
// dpkg does not learn of another architecture.
type apt struct{ dir string }

func newApt(cache string) (apt, error) {
	a := apt{filepath.Join(cache, "apt")}
	for _, d := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(a.dir, d), 0o755); err != nil {
			return a, err
		}
	}
	return a, os.WriteFile(filepath.Join(a.dir, "status"), nil, 0o644)
}

func (a apt) run(dir, tool string, args ...string) (string, error) {
	options := []string{
		"-q", "-o", "APT::Architecture=arm64", "-o", "APT::Architectures::=arm64",
		"-o", "Dir::State::lists=" + filepath.Join(a.dir, "lists"),
		"-o", "Dir::State::status=" + filepath.Join(a.dir, "status"),
		"-o", "Dir::Cache=" + filepath.Join(a.dir, "cache"),
		"-o", "Acquire::Languages=none", "-o", "Acquire::Retries=3",
	}
	if os.Getuid() == 0 {
		// apt's own user may not enter our cache.
		options = append(options, "-o", "APT::Sandbox::User=root")
	}
	cmd := exec.Command(tool, append(options, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", tool, strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

var image = regexp.MustCompile(`(?m)^ *Depends: (linux-image-\S+)$`)

// fetch gets the newest kernel into the cache.
func fetch(cache string) (string, error) {
	a, err := newApt(cache)
	if err != nil {
		return "", err
	}
	if _, err := a.run("", "apt-get", "update"); err != nil {
		return "", err
	}
	name, err := a.resolve()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, "kernel", strings.Replace(name, "linux-image-", "vmlinuz-", 1))
	if _, err := os.Stat(path); err == nil {
		return path, os.Chtimes(path, time.Time{}, time.Now())
	}
	tmp, err := os.MkdirTemp(cache, "tmp")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if _, err := a.run(tmp, "apt-get", "download", name); err != nil {
		return "", err
	}
	return path, unpack(tmp, path)
}

// resolve finds the package that has the kernel itself.
func (a apt) resolve() (string, error) {
	var tried []error
	for _, meta := range metas {
		out, err := a.run("", "apt-cache", "depends", meta)
		if err != nil {
			tried = append(tried, err)
			continue
		}
		if m := image.FindStringSubmatch(out); m != nil {
			return m[1], nil
		}
		tried = append(tried, fmt.Errorf("%s depends on no kernel", meta))
	}
	return "", errors.Join(tried...)
}

// unpack takes the kernel out of the one package in tmp.
func unpack(tmp, path string) error {
	debs, _ := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if len(debs) != 1 {
		return fmt.Errorf("apt left %q, want one package", debs)
	}
	if out, err := exec.Command("dpkg-deb", "-x", debs[0], tmp).CombinedOutput(); err != nil {
		return fmt.Errorf("dpkg-deb: %w\n%s", err, out)
	}
	found, _ := filepath.Glob(filepath.Join(tmp, "boot", "vmlinu[xz]-*"))
	if len(found) == 0 {
		return fmt.Errorf("no kernel in %s", filepath.Base(debs[0]))
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	// The package's files have Debian's dates; the cache goes by ours.
	file := slices.Max(found)
	if err := os.Chtimes(file, time.Time{}, time.Now()); err != nil {
		return err
	}
	return os.Rename(file, path)
}
