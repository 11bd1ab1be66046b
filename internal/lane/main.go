// Lane runs this module's tests on arm64: it compiles them, makes a root for
// them, and boots Debian's arm64 kernel with both in an emulated machine.
//
//	go run ./internal/lane [-cpu cortex-a76|cortex-a72|max] [-run REGEXP] [-v] [PACKAGE...]
//
// The user-mode emulator cannot ptrace; a whole emulated machine can. The guest
// has one program besides the tests and the fixtures: package init below. Its
// console is the result. The kernel is kept in the user's cache folder.
//
// Exit status: 0 all passed, 1 a test failed or the guest died, 2 no guest.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ptracer/ptracer/internal/fixture"
	"github.com/ptracer/ptracer/internal/skip"
)

// packages is what is tested where no package is named, as far as it is there:
// first whether the machine is right.
var packages = []string{
	"./internal/lane/proof", "./internal/leak", "./internal/fixture",
	"./arch/...", "./breakpoint/...", "./symbols/...", "./engine/...", "./bench/...", "./cmd/...", "./internal/truth",
}

// alike are those of them that do the same on every machine: what they decide is
// tested before, natively, and the emulator takes a minute for it.
var alike = []string{"engine/handler/filter", "engine/handler/interp", "engine/handler/verify", "engine/expr", "engine/value", "symbols/dwarf", "symbols/dwarf/line", "symbols/dwarf/op", "symbols/dwarf/raw", "symbols/dwarf/types", "symbols/source", "symbols/debuginfod"}

type options struct {
	cpu      string
	run      string
	short    bool
	verbose  bool
	count    int
	timeout  time.Duration // of one package
	total    time.Duration // of all
	packages []string
	without  []string // of those
}

func (o options) testArgs() []string {
	return []string{
		"-test.v", "-test.paniconexit0", "-test.timeout=" + o.timeout.String(), "-test.run=" + o.run,
		fmt.Sprintf("-test.count=%d", o.count), fmt.Sprintf("-test.short=%v", o.short),
	}
}

func parse(args []string) options {
	var o options
	f := flag.NewFlagSet("lane", flag.ExitOnError)
	f.StringVar(&o.cpu, "cpu", "cortex-a76", "`model`: cortex-a76, cortex-a72 (without LSE), or max (with PAC and BTI)")
	f.StringVar(&o.run, "run", "", "only tests that match `regexp`")
	f.BoolVar(&o.short, "short", false, "tell tests to be short")
	f.BoolVar(&o.verbose, "v", false, "show all that the guest prints")
	f.IntVar(&o.count, "count", 1, "run each test `n` times")
	f.DurationVar(&o.timeout, "timeout", 40*time.Minute, "of one package")
	f.DurationVar(&o.total, "total", 50*time.Minute, "of the guest")
	f.Parse(args) // exits on an error
	o.packages = f.Args()
	return o
}

// present is those of packages whose folder is in the module.
func present(root string) (found []string) {
	for _, p := range packages {
		if _, err := os.Stat(filepath.Join(root, strings.TrimSuffix(p, "/..."))); err == nil {
			found = append(found, p)
		}
	}
	return found
}

func main() {
	r, err := run(parse(os.Args[1:]))
	switch {
	case r == nil:
		fmt.Fprintln(os.Stderr, "lane:", err)
		os.Exit(2)
	case err != nil:
		fmt.Printf("FAIL\tarm64 lane: %v\n", err)
		os.Exit(1)
	case r.code != 0:
		fmt.Println("FAIL\tarm64 lane")
		os.Exit(1)
	}
}

func run(o options) (*result, error) {
	start := time.Now()
	step := func(what string) {
		fmt.Fprintf(os.Stderr, "lane: %s after %.1fs\n", what, time.Since(start).Seconds())
	}
	root, err := fixture.Root()
	if err != nil {
		return nil, err
	}
	if len(o.packages) == 0 {
		o.packages, o.without = present(root), alike
		step("without " + strings.Join(alike, ", ") + ", the same everywhere:")
	}
	home, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	cache := filepath.Join(home, "ptracer")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	k, err := kernel(cache)
	if err != nil {
		return nil, err
	}
	step("kernel " + filepath.Base(k))
	dir := filepath.Join(root, "build", "lane")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	b := &builder{root: root, dir: dir, options: o}
	initramfs, err := b.image()
	if err != nil {
		return nil, err
	}
	step(fmt.Sprintf("%d test binaries", len(b.tests)))
	r, err := bootAll(o, k, initramfs, dir, b.parts)
	if err != nil {
		return r, err
	}
	step("guests done")
	if r.ran != len(b.tests) {
		return r, fmt.Errorf("%d of %d test binaries ran", r.ran, len(b.tests))
	}
	return r, listSkips(os.Getenv(skip.ListEnv), r.skips)
}
