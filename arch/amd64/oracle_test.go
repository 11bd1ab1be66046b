package amd64

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/ptracer/ptracer/arch"
	"github.com/ptracer/ptracer/internal/skip"
)

// listed is one instruction as objdump sees it.
type listed struct {
	at   arch.Addr
	code []byte
	text string // less prefixes
}

// objdump calls each with every instruction that objdump decodes with certainty. It reads a file,
// or one with raw bytes: from address 0, without headers.
func objdump(t testing.TB, file string, raw bool, each func(listed)) {
	t.Helper()
	path, err := exec.LookPath("objdump")
	if err != nil {
		skip.Missing(t, "objdump (binutils)")
	}
	args := []string{"-d", "-w", "--insn-width=16"}
	if raw {
		args = []string{"-D", "-w", "-z", "--insn-width=16", "-b", "binary", "-m", "i386:x86-64"}
	}
	cmd := exec.Command(path, append(args, file)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bufio.NewReaderSize(out, 1<<20))
	for lines.Scan() {
		if l, ok := parseListed(lines.Text()); ok {
			each(l)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

func parseListed(line string) (listed, bool) {
	cols := strings.SplitN(line, "\t", 3)
	if len(cols) != 3 || strings.Contains(cols[2], "(bad)") || strings.HasPrefix(cols[2], ".byte") {
		return listed{}, false
	}
	at, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(cols[0]), ":"), 16, 64)
	if err != nil {
		return listed{}, false
	}
	code, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(cols[1]), " ", ""))
	if err != nil {
		return listed{}, false
	}
	text := withoutPrefixes(strings.TrimSpace(cols[2]))
	return listed{arch.Addr(at), code, text}, text != ""
}

func withoutPrefixes(text string) string {
	for {
		word, rest, _ := strings.Cut(text, " ")
		switch word {
		case "lock", "rep", "repz", "repnz", "bnd", "notrack", "data16", "addr32",
			"cs", "ds", "es", "ss", "fs", "gs", "xacquire", "xrelease":
		default:
			if !strings.HasPrefix(word, "rex") {
				return text
			}
		}
		text = strings.TrimSpace(rest)
	}
}

// listedKinds are the kinds of objdump's mnemonics, less suffixes of size and hint.
var listedKinds = map[string]arch.Kind{
	"jmp": arch.KindJump, "call": arch.KindCall,
	"ljmp": arch.KindJump, "lcall": arch.KindCall,
	"ret": arch.KindReturn, "lret": arch.KindReturn, "iret": arch.KindReturn, "uiret": arch.KindReturn,
	"syscall": arch.KindSyscall, "sysenter": arch.KindSyscall,
	"sysret": arch.KindInvalid, "sysexit": arch.KindInvalid,
	"hlt": arch.KindInvalid, "ud0": arch.KindInvalid, "ud1": arch.KindInvalid, "ud2": arch.KindInvalid,
	"int3": arch.KindTrap, "int1": arch.KindTrap,
	"nop": arch.KindNop, "endbr64": arch.KindNop, "endbr32": arch.KindNop,
	"loop": arch.KindBranch, "loope": arch.KindBranch, "loopne": arch.KindBranch, "xbegin": arch.KindBranch,
}

func (l listed) kind() arch.Kind {
	word, operand, _ := strings.Cut(l.text, " ")
	word, _, _ = strings.Cut(word, ",")
	operand = strings.TrimSpace(operand)
	switch {
	case word == "int" && strings.HasPrefix(operand, "$0x80"):
		return arch.KindSyscall
	case word == "int" && operand == "$0x3":
		return arch.KindTrap
	case word == "xchg" && (operand == "%ax,%ax" || operand == "%rax,%rax"):
		return arch.KindNop
	}
	kind, ok := listedKinds[word]
	if !ok {
		kind, ok = listedKinds[word[:len(word)-1]] // with a letter for the size
	}
	switch {
	case ok && kind == arch.KindJump && strings.HasPrefix(operand, "*"):
		return arch.KindJumpIndirect
	case ok && kind == arch.KindCall && strings.HasPrefix(operand, "*"):
		return arch.KindCallIndirect
	case ok:
		return kind
	case word[0] == 'j':
		return arch.KindBranch
	}
	return arch.KindOther
}

// target is the address behind a direct branch's mnemonic.
func (l listed) target() arch.Addr {
	f := strings.Fields(l.text)
	if len(f) < 2 {
		return 0
	}
	a, _ := strconv.ParseUint(strings.TrimPrefix(f[1], "0x"), 16, 64)
	return arch.Addr(a)
}

// ripTarget is the address in the comment for an operand relative to rip.
func (l listed) ripTarget() (arch.Addr, bool) {
	_, comment, ok := strings.Cut(l.text, "# ")
	if !ok || !strings.Contains(l.text, "ip)") {
		return 0, false
	}
	word, _, _ := strings.Cut(strings.TrimPrefix(comment, "0x"), " ")
	a, err := strconv.ParseUint(word, 16, 64)
	return arch.Addr(a), err == nil
}

// undecided reports whether objdump and the CPU, or different CPUs, disagree.
func (l listed) undecided(in inst, err error) bool {
	switch {
	case errors.Is(err, errors.ErrUnsupported): // 16-bit branches differ by vendor
		return strings.Contains(fmt.Sprintf("% x ", l.code), "66 ")
	case err != nil && bytes.Contains(l.code[:min(4, len(l.code))], []byte{0xf0}): // lock, of nothing
		return true
	case err != nil && l.text[0] == 'm': // mov of no segment register, or to cs
		return strings.Contains(l.text, "%?") || strings.Contains(l.text, ",%cs")
	case err != nil: // prefixes before VEX, which objdump prints and passes over
		return !strings.ContainsRune("\xc4\xc5\x62\x8f", rune(l.code[0])) && (l.text[0] == 'v' || l.text[0] == 'k')
	case in.table == mapOne && in.op == 0x9b: // fwait, which objdump joins with what follows
		return l.text != "fwait"
	case in.lock && l.kind() == arch.KindNop: // faults
		return in.kind(l.code) == arch.KindOther
	case in.addrsize && in.ripRelative(): // objdump forgets to cut to 32 bits
		return true
	case in.table == map0F && in.op >= 0x18 && in.op <= 0x1e: // hints
		return l.kind() == arch.KindNop
	}
	return false
}

// differs returns where the decoder and objdump disagree.
func (l listed) differs() string {
	p, err := parse(l.code)
	if l.undecided(p, err) {
		return ""
	}
	in, err := ISA.Decode(l.code, l.at)
	switch {
	case err != nil:
		return err.Error()
	case in.Len != len(l.code):
		return fmt.Sprintf("length %d", in.Len)
	case in.Kind != l.kind():
		return fmt.Sprintf("kind %d, not %d", in.Kind, l.kind())
	}
	switch in.Kind {
	case arch.KindJump, arch.KindBranch, arch.KindCall:
		if in.Target != l.target() {
			return fmt.Sprintf("target %v, not %v", in.Target, l.target())
		}
	}
	want, ok := l.ripTarget()
	if got := p.address(l.at+arch.Addr(p.len), &arch.Regs{}); ok && (!p.ripRelative() || got != want) {
		return fmt.Sprintf("operand at %v, not %v", got, want)
	}
	if !ok && p.ripRelative() && strings.Contains(l.text, "(") && !strings.Contains(l.text, "ip)") {
		return "operand taken to be relative"
	}
	return ""
}
