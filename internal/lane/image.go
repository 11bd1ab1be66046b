package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/lane/guest"
	"github.com/ptracer/ptracer/internal/skip"
)

// libs are what dynamically linked fixtures need, out of the cross compiler's
// C library. All but the first two may be missing.
var libs = []string{
	"ld-linux-aarch64.so.1", "libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2",
	"libgcc_s.so.1", "libstdc++.so.6",
}

const libDir = "/usr/aarch64-linux-gnu/lib"

// files are what C libraries and programs expect of any system.
var files = map[string]string{
	"/etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
	"/etc/group":  "root:x:0:\nnogroup:x:65534:\n",
	"/etc/hosts":  "127.0.0.1 localhost\n::1 localhost\n",
}

// builder makes the guest's root.
type builder struct {
	root    string // of the module
	dir     string // for what is compiled
	options options
	tests   []guest.Test
	parts   int // how many guests run them
}

// goCmd runs the go command for the guest and returns what it prints.
func (b *builder) goCmd(args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = b.root
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	return string(out), nil
}

// image writes the initramfs and returns its path.
func (b *builder) image() (string, error) {
	name := filepath.Join(b.dir, "initramfs")
	f, err := os.Create(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	a := newArchive(f)
	steps := []func(*archive) error{b.addInit, b.addTool, b.addTests, b.addFixtures, b.addLibs, b.addPlan}
	for _, step := range steps {
		if err := step(a); err != nil {
			return "", err
		}
	}
	if err := a.close(); err != nil {
		return "", err
	}
	return name, f.Close()
}

func (b *builder) addInit(a *archive) error {
	out := filepath.Join(b.dir, "init")
	if _, err := b.goCmd("build", "-buildvcs=false", "-o", out, "./internal/lane/init"); err != nil {
		return err
	}
	for name, text := range files {
		if err := a.data(name, 0o644, []byte(text)); err != nil {
			return err
		}
	}
	for _, dir := range []string{"/root", "/bin", "/dev", "/proc"} {
		if err := a.dir(dir); err != nil {
			return err
		}
	}
	return a.file("/init", out)
}

// addTool adds ptracer itself, for tests that run it as a user does.
func (b *builder) addTool(a *archive) error {
	out := filepath.Join(b.dir, "ptracer")
	if _, err := b.goCmd("build", "-buildvcs=false", "-o", out, "./cmd/ptracer"); err != nil {
		return err
	}
	return a.file(guest.Tool, out)
}

// addTests compiles the test binary of each package that has tests.
func (b *builder) addTests(a *archive) error {
	const format = `{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}	{{.Dir}}{{end}}`
	list, err := b.goCmd(append([]string{"list", "-f", format}, b.options.packages...)...)
	if err != nil {
		return err
	}
	for line := range strings.Lines(list) {
		pkg, dir, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok || slices.ContainsFunc(b.options.without, func(p string) bool { return strings.HasSuffix(pkg, "/"+p) }) {
			continue
		}
		if err := b.addTest(a, pkg, dir); err != nil {
			return err
		}
	}
	if len(b.tests) == 0 {
		return errors.New("no package has tests")
	}
	if err := a.file(guest.SourceDir+"/go.mod", filepath.Join(b.root, "go.mod")); err != nil {
		return err
	}
	// cmd/ptracer's tests hold the documents to what ptracer prints.
	if err := a.tree(path.Join(guest.SourceDir, "docs"), filepath.Join(b.root, "docs")); err != nil {
		return err
	}
	return addTestdata(a, guest.SourceDir, b.root)
}

func (b *builder) addTest(a *archive, pkg, dir string) error {
	rel, err := filepath.Rel(b.root, dir)
	if err != nil {
		return err
	}
	out := filepath.Join(b.dir, strings.ReplaceAll(rel, "/", "-")+".test")
	if _, err := b.goCmd("test", "-c", "-vet=off", "-o", out, pkg); err != nil {
		return err
	}
	t := guest.Test{
		Package: pkg,
		Binary:  path.Join(guest.TestDir, filepath.Base(out)),
		Dir:     path.Join(guest.SourceDir, rel),
		Args:    b.options.testArgs(),
	}
	b.tests = append(b.tests, t)
	if err := a.file(t.Binary, out); err != nil {
		return err
	}
	if err := a.dir(t.Dir); err != nil {
		return err
	}
	return addTestdata(a, t.Dir, dir)
}

func addTestdata(a *archive, name, from string) error {
	from = filepath.Join(from, "testdata")
	if info, err := os.Stat(from); err != nil || !info.IsDir() {
		return nil
	}
	return a.tree(path.Join(name, "testdata"), from)
}

// addFixtures adds the fixtures that this machine can make for the guest.
func (b *builder) addFixtures(a *archive) error {
	if err := a.dir(guest.FixtureDir); err != nil {
		return err
	}
	for _, f := range fixture.Table {
		from, err := f.Build(b.root, "arm64")
		if errors.Is(err, fixture.ErrMissing) {
			continue // the test that asks for it skips, and says so
		}
		if err != nil {
			return err
		}
		if err := a.file(path.Join(guest.FixtureDir, f.Name), from); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) addLibs(a *archive) error {
	for i, lib := range libs {
		err := a.file("/lib/"+lib, filepath.Join(libDir, lib))
		if err != nil && (i < 2 || !errors.Is(err, os.ErrNotExist)) {
			return fmt.Errorf("is gcc-aarch64-linux-gnu installed? %w", err)
		}
	}
	return nil
}

// slowest is the package that takes about as long as all others together.
const slowest = "/engine"

// divide puts each test into one of the guests, and says how many these are: QEMU has one
// thread for each (boot).
func (b *builder) divide() int {
	is := func(t guest.Test) bool { return strings.HasSuffix(t.Package, slowest) }
	if runtime.NumCPU() == 1 || len(b.tests) == 1 || !slices.ContainsFunc(b.tests, is) {
		return 1
	}
	for i := range b.tests {
		if !is(b.tests[i]) {
			b.tests[i].Part = 1
		}
	}
	return 2
}

func (b *builder) addPlan(a *archive) error {
	b.parts = b.divide()
	plan := guest.Plan{Tests: b.tests, Env: []string{
		"HOME=/root", "PATH=/bin", "TMPDIR=/tmp", "USER=root", "TERM=dumb",
		fixture.DirEnv + "=" + guest.FixtureDir,
		fixture.ToolEnv + "=" + guest.Tool,
		skip.ListEnv + "=" + guest.SkipList,
	}}
	text, err := json.Marshal(plan)
	if err != nil {
		return err
	}
	return a.data(guest.PlanPath, 0o644, text)
}
