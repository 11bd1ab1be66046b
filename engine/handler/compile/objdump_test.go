package compile

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/ptracer/ptracer/internal/skip"
)

// objdumps are the disassemblers of binutils, for whole files of machine code.
var objdumps = map[string][]string{
	"amd64": {"objdump", "-m", "i386:x86-64"},
	"arm64": {"aarch64-linux-gnu-objdump", "-m", "aarch64"},
}

var objdumpLine = regexp.MustCompile(`(?m)^ +([0-9a-f]+):\t[0-9a-f ]+\t(.*)$`)

// TestObjdump asks a second disassembler, which knows all used instructions: every golden consists
// of instructions from end to end, in the same places as for the first one.
func TestObjdump(t *testing.T) {
	for _, arch := range archs {
		command := objdumps[arch]
		if _, err := exec.LookPath(command[0]); err != nil {
			skip.Missing(t, command[0])
		}
		var all []byte
		starts := map[uint64]string{}
		for _, g := range goldens() {
			res := accepted(arch, g.insns, g.maps, g.funcs...)
			if g.facts != nil {
				g.facts(res)
			}
			code, err := Compile(res, goldenTarget(g.target, len(g.maps)))
			if err != nil {
				t.Fatalf("%s: %v", g.name, err)
			}
			for at := 0; at < len(code.Bytes); {
				_, n := disassemble(arch, code.Bytes[at:], 0)
				starts[uint64(len(all)+at)] = fmt.Sprintf("%s at %#x", g.name, at)
				at += n
			}
			all = append(all, code.Bytes...)
		}
		file := filepath.Join(t.TempDir(), "code")
		if err := os.WriteFile(file, all, 0o666); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(command[0], append(command[1:], "-D", "-z", "-w", "-b", "binary", file)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, line := range objdumpLine.FindAllSubmatch(out, -1) {
			at, _ := strconv.ParseUint(string(line[1]), 16, 64)
			found++
			if bytes.Contains(line[2], []byte("bad)")) || bytes.Contains(line[2], []byte("undefined")) || starts[at] == "" {
				t.Errorf("%s: %s (%s)", arch, line[0], starts[at])
			}
		}
		if found != len(starts) {
			t.Errorf("%s: %d instructions, not %d", arch, found, len(starts))
		}
	}
}
