package symbols

import (
	"slices"
	"strings"

	"github.com/ptracer/ptracer/symbols/elffile"
)

// implemented replaces IFUNC resolvers by the implementations that have names:
// glibc gives them the form __NAME_cpu, compilers that of NAME.cpu. Each function
// is listed once.
func (f *File) implemented(list []named) ([]named, error) {
	var out []named
	seen := map[uint64]bool{}
	add := func(fn named) {
		if !seen[uint64(fn.Addr)] {
			seen[uint64(fn.Addr)] = true
			out = append(out, fn)
		}
	}
	for _, fn := range list {
		if !fn.chosen {
			add(fn)
			continue
		}
		impl, err := f.implementations(fn.Function)
		if err == nil && len(impl) == 0 {
			impl, err = f.clones(fn)
		}
		if err != nil {
			return nil, err
		}
		for _, i := range impl {
			add(i)
		}
		if len(impl) == 0 {
			add(fn)
		}
	}
	return out, nil
}

// implementations finds the functions called __NAME_* that are no resolvers.
func (f *File) implementations(resolver Function) ([]named, error) {
	addrs := map[uint64]bool{}
	shown := map[uint64]string{}
	for _, name := range resolver.Names() {
		prefix := "__" + strings.TrimLeft(name, "_") + "_"
		accept := func(s string) bool { return isImplementation(s, prefix) }
		if err := f.each(func(s elffile.Source) error {
			return s.Named(prefix, false, accept, func(sym elffile.Symbol) {
				if !sym.Ifunc {
					addrs[sym.Addr], shown[sym.Addr] = true, sym.Name
				}
			})
		}); err != nil {
			return nil, err
		}
	}
	fns, err := f.functionsAt(addrs)
	var list []named
	for _, fn := range fns {
		list = append(list, named{Function: fn, shown: shown[uint64(fn.Addr)]})
	}
	return list, err
}

// cpus are what the names of glibc's implementations go on with.
var cpus = []string{"sse", "ssse", "avx", "evex", "erms", "generic", "c", "x86_64", "mops", "sve", "a64fx", "thunderx",
	"falkor", "kunpeng", "simd", "asimd", "emag", "nosimd", "mte", "oryon", "zva64", "fma", "i8mm"}

// isImplementation reports whether s is the prefix and a CPU feature.
func isImplementation(s, prefix string) bool {
	rest, ok := strings.CutPrefix(s, prefix)
	if !ok {
		return false
	}
	// __memcpy_chk_avx is one of __memcpy_chk.
	word, _, _ := strings.Cut(rest, "_")
	for _, cpu := range cpus {
		if word == cpu || strings.TrimRight(word, "0123456789") == cpu {
			return true
		}
	}
	return rest == "x86_64" || strings.HasPrefix(rest, "avx") || strings.HasPrefix(rest, "unaligned")
}

// resolverEnds is what compilers add to the name of a function of which they make a
// clone for each CPU, as __attribute__((target_clones)) asks, for what chooses one.
const resolverEnds = ".resolver"

// clones finds those of a function; all are called by its name.
func (f *File) clones(resolver named) ([]named, error) {
	addrs := map[uint64]bool{}
	for _, name := range resolver.Names() {
		base, ok := strings.CutSuffix(name, resolverEnds)
		if !ok {
			continue
		}
		accept := func(s string) bool { return isClone(s, base+".") }
		if err := f.each(func(s elffile.Source) error {
			return s.Named(base+".", false, accept, func(sym elffile.Symbol) {
				if !sym.Ifunc && sym.Addr != uint64(resolver.Addr) {
					addrs[sym.Addr] = true
				}
			})
		}); err != nil {
			return nil, err
		}
	}
	fns, err := f.functionsAt(addrs)
	var list []named
	for _, fn := range fns {
		list = append(list, named{Function: fn, shown: resolver.shown, clone: true})
	}
	return list, err
}

// noClones are words in the names of what is made of a function besides.
var noClones = []string{"resolver", "ifunc", "cold", "part", "constprop", "isra"}

// isClone reports whether s is the prefix and a CPU.
func isClone(s, prefix string) bool {
	rest, ok := strings.CutPrefix(s, prefix)
	return ok && !slices.ContainsFunc(strings.Split(rest, "."), func(word string) bool { return slices.Contains(noClones, word) })
}
