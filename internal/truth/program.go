package truth

import "strings"

// Language is what a program is written in, as far as it matters to what a place is
// called and where its arguments are.
type Language int

// Languages.
const (
	C Language = iota
	CPlusPlus
	Rust
	Go
	Assembly
)

// Program is a fixture of the matrix.
type Program struct {
	Fixture  string
	Language Language
}

// Programs are those of the matrix; the first has the plainest code.
var Programs = []Program{
	{"truth", C},
	{"truth-O0", C},
	{"truth-cf", C},
	{"truth-musl", C},
	{"truth-nopie", C},
	{"truth-static", C},
	{"truth-static-pie", C},
	{"truth-stripped", C},
	{"truth-cc", CPlusPlus},
	{"truth-rs", Rust},
	{"truth-go", Go},
	{"truth-go-pie", Go},
	{"truth-asm", Assembly},
	{"truth-asm-nopie", Assembly},
}

// prefixes are what stands before functions' names, where something does.
var prefixes = map[Language]map[string]string{
	CPlusPlus: {"mix": "probed::", "small": "probed::Calls::", "name": "probed::", "fact": "probed::", "spin": "probed::Calls::"},
	Rust:      {"mix": "truth::", "fact": "truth::", "spin": "truth::"},
	Go:        {"mix": "main.", "small": "main.", "name": "main.", "fact": "main.", "spin": "main."},
}

// parameters are the arguments of mix, as questions name them.
var parameters = []string{"{a}", "{b}", "{c}", "{text}", "{e}", "{f}"}

// fill puts arguments' names into a flag. In Go a string is two words, so that
// those behind it move on.
func (p Program) fill(flag string) string {
	names := []string{"arg0", "arg1", "arg2", "arg3", "arg4", "arg5"}
	if p.Language == Go {
		names[4], names[5] = "arg5", "arg6"
	}
	for i, name := range parameters {
		flag = strings.ReplaceAll(flag, name, names[i])
	}
	return flag
}
