package symbols

import (
	"slices"
	"strings"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/symbols/elffile"
)

// Implementations finds the functions of the forms of glibc's, __NAME_cpu, that a resolver
// chooses from; names has the name of each that is of this form.
func (f *File) Implementations(resolver Function) (fns []Function, names map[arch.Addr]string, err error) {
	addrs := map[uint64]bool{}
	names = map[arch.Addr]string{}
	for _, name := range resolver.Names() {
		prefix := "__" + strings.TrimLeft(name, "_") + "_"
		accept := func(s string) bool { return isImplementation(s, prefix) }
		if err := f.each(func(s elffile.Source) error {
			return s.Named(prefix, false, accept, func(sym elffile.Symbol) {
				if !sym.Ifunc {
					addrs[sym.Addr], names[arch.Addr(sym.Addr)] = true, sym.Name
				}
			})
		}); err != nil {
			return nil, nil, err
		}
	}
	fns, err = f.functionsAt(addrs)
	return fns, names, err
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

// Clones finds the functions that compilers have made for CPUs and that a resolver chooses
// from: all are called by its name.
func (f *File) Clones(resolver Function) ([]Function, error) {
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
	return f.functionsAt(addrs)
}

// noClones are words in the names of what is made of a function besides.
var noClones = []string{"resolver", "ifunc", "cold", "part", "constprop", "isra"}

// isClone reports whether s is the prefix and a CPU.
func isClone(s, prefix string) bool {
	rest, ok := strings.CutPrefix(s, prefix)
	return ok && !slices.ContainsFunc(strings.Split(rest, "."), func(word string) bool { return slices.Contains(noClones, word) })
}
