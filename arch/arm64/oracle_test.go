package arm64

import (
	"bufio"
	"bytes"
	"debug/elf"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/arch/arm64/arm64asm"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/internal/skip"
)

const objdump = "aarch64-linux-gnu-objdump"

// kindOf is the kind of each mnemonic that goes on elsewhere than behind itself.
var kindOf = map[string]arch.Kind{
	"nop": arch.KindNop, "yield": arch.KindNop, "dgh": arch.KindNop,
	"b": arch.KindJump, "bl": arch.KindCall,
	"cbz": arch.KindBranch, "cbnz": arch.KindBranch, "tbz": arch.KindBranch, "tbnz": arch.KindBranch,
	"br": arch.KindJumpIndirect, "braa": arch.KindJumpIndirect, "brab": arch.KindJumpIndirect,
	"braaz": arch.KindJumpIndirect, "brabz": arch.KindJumpIndirect,
	"blr": arch.KindCallIndirect, "blraa": arch.KindCallIndirect, "blrab": arch.KindCallIndirect,
	"blraaz": arch.KindCallIndirect, "blrabz": arch.KindCallIndirect,
	"ret": arch.KindReturn, "retaa": arch.KindReturn, "retab": arch.KindReturn,
	"svc": arch.KindSyscall, "brk": arch.KindTrap,
	"udf": arch.KindInvalid, "hlt": arch.KindInvalid, "hvc": arch.KindInvalid, "smc": arch.KindInvalid,
	"dcps1": arch.KindInvalid, "dcps2": arch.KindInvalid, "dcps3": arch.KindInvalid,
}

// mnemonicKind is the kind of an instruction in a disassembler's words.
func mnemonicKind(mnemonic, operands string) arch.Kind {
	if strings.HasPrefix(mnemonic, "b.") || strings.HasPrefix(mnemonic, "bc.") {
		return arch.KindBranch
	}
	if mnemonic == "hint" && operands == "#0x6" {
		return arch.KindNop // dgh
	}
	return kindOf[mnemonic]
}

// compareLine compares the decoding of one line with objdump's: "  4005d4:\t54000060 \tb.eq\t4005e0
// <main+0x10>".
func compareLine(t *testing.T, line string) bool {
	f := strings.Split(line, "\t")
	if len(f) < 3 {
		return false
	}
	at, err1 := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(f[0]), ":"), 16, 64)
	w, err2 := strconv.ParseUint(strings.TrimSpace(f[1]), 16, 32)
	if err1 != nil || err2 != nil || f[2] == ".word" {
		return false
	}
	var operands string
	if len(f) > 3 {
		operands = f[3]
	}
	in, err := ISA.Decode(bytesOf(uint32(w)), arch.Addr(at))
	if err != nil {
		t.Errorf("%q: %v", line, err)
	}
	if f[2] == ".inst" && newer(uint32(w)) {
		return false
	}
	if want := mnemonicKind(strings.TrimSpace(f[2]), operands); in.Kind != want {
		t.Errorf("%q: kind %d, objdump's %d", line, in.Kind, want)
	}
	if in.Target == 0 {
		return true
	}
	fields := strings.FieldsFunc(operands, func(r rune) bool { return r == ',' || r == ' ' })
	for i, s := range fields { // the target is the last operand, a name may follow
		if strings.HasPrefix(s, "<") || s == "//" {
			fields = fields[:i]
			break
		}
	}
	target := strings.TrimPrefix(fields[len(fields)-1], "0x")
	if want, _ := strconv.ParseUint(target, 16, 64); in.Target != arch.Addr(want) {
		t.Errorf("%q: target %v", line, in.Target)
	}
	return true
}

// newer are instructions that binutils 2.40 and x/arch do not know.
func newer(w uint32) bool {
	switch classify(w) {
	case formCompare, formRetAuthPC:
		return true
	case formRetAuth:
		return w&31 != zr // retaasppcr
	}
	return false
}

func compareDump(t *testing.T, least int, args ...string) {
	if _, err := exec.LookPath(objdump); err != nil {
		skip.Missing(t, objdump)
	}
	var errs bytes.Buffer
	cmd := exec.Command(objdump, append([]string{"-z"}, args...)...)
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for s := bufio.NewScanner(out); s.Scan() && !t.Failed(); {
		if compareLine(t, s.Text()) {
			n++
		}
	}
	if t.Failed() {
		cmd.Process.Kill()
	}
	if err := cmd.Wait(); err != nil && !t.Failed() {
		t.Fatalf("%v: %s", err, errs.Bytes())
	}
	if n < least && !t.Failed() {
		t.Errorf("compared only %d instructions", n)
	}
	t.Logf("%d instructions", n)
}

func TestDecodeAgainstObjdump(t *testing.T) {
	t.Run("libc", func(t *testing.T) {
		const libc = "/usr/aarch64-linux-gnu/lib/libc.so.6"
		if _, err := os.Stat(libc); err != nil {
			skip.Missing(t, libc)
		}
		compareDump(t, 200_000, "-d", libc)
	})
	t.Run("random", func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		var code []byte
		for range 100_000 {
			code = append(code, bytesOf(interesting(r), r.Uint32())...)
		}
		file := filepath.Join(t.TempDir(), "code")
		if err := os.WriteFile(file, code, 0o666); err != nil {
			t.Fatal(err)
		}
		compareDump(t, 150_000, "-D", "-b", "binary", "-m", "aarch64", "--adjust-vma=0x40000000", file)
	})
}

// asmTarget is the target of a direct branch that x/arch decoded.
func asmTarget(in arm64asm.Inst, at arch.Addr) arch.Addr {
	for _, arg := range in.Args {
		if rel, ok := arg.(arm64asm.PCRel); ok {
			return at + arch.Addr(rel)
		}
	}
	return 0
}

// compareAsm compares the decoding of one word with x/arch's, if x/arch has one.
func compareAsm(w uint32, at arch.Addr) (known bool, err error) {
	asm, err := arm64asm.Decode(bytesOf(w))
	if err != nil {
		return false, nil
	}
	in, err := ISA.Decode(bytesOf(w), at)
	if err != nil {
		return true, err
	}
	text := strings.Fields(strings.ToLower(asm.String()))
	kind := mnemonicKind(text[0], strings.Join(text[1:], ""))
	if _, conditional := asm.Args[0].(arm64asm.Cond); conditional && asm.Op == arm64asm.B {
		kind = arch.KindBranch
	}
	if in.Kind != kind {
		return true, fmt.Errorf("%08x %v: kind %d, x/arch's %d", w, asm, in.Kind, kind)
	}
	switch in.Kind {
	case arch.KindOther:
		if asmTarget(asm, 0) != 0 && classify(w) == formOther {
			return true, fmt.Errorf("%08x %v: depends on its address", w, asm)
		}
	case arch.KindJump, arch.KindBranch, arch.KindCall:
		if want := asmTarget(asm, at); in.Target != want {
			return true, fmt.Errorf("%08x %v: target %v, x/arch's %v", w, asm, in.Target, want)
		}
	}
	return true, nil
}

func TestDecodeAgainstXArch(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	n := 0
	for range 150_000 {
		known, err := compareAsm(interesting(r), arch.Addr(r.Uint64()&^3))
		if err != nil {
			t.Fatal(err)
		}
		if known {
			n++
		}
	}
	if n < 30_000 {
		t.Errorf("compared only %d", n)
	}
}

// TestRelocateLibc relocates all of a real library.
func TestRelocateLibc(t *testing.T) {
	f, err := elf.Open("/usr/aarch64-linux-gnu/lib/libc.so.6")
	if err != nil {
		skip.Missing(t, "arm64 libc")
	}
	defer f.Close()
	text := f.Section(".text")
	code, err := text.Data()
	if err != nil {
		t.Fatal(err)
	}
	failed := map[string]int{}
	b := &arch.Buffer{}
	for off := 0; off+4 <= len(code); off += 4 {
		b.Reset(0x4000000)
		if _, err := ISA.Relocate(b, code[off:], arch.Addr(text.Addr)+arch.Addr(off)); err != nil {
			in, _ := ISA.Decode(code[off:], 0)
			failed[fmt.Sprintf("kind %d", in.Kind)]++
		}
	}
	for what, n := range failed {
		t.Logf("%s: %d not relocated", what, n)
	}
	delete(failed, fmt.Sprintf("kind %d", arch.KindTrap))
	if len(failed) != 0 {
		t.Errorf("not relocated: %v", failed)
	}
}
