package program

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/cilium/ebpf/asm"

	"github.com/ptracer/ptracer/internal/skip"
)

// snake converts a name of cilium's into the kernel's form.
func snake(name string) string {
	var b strings.Builder
	for i, c := range strings.TrimPrefix(name, "Fn") {
		if unicode.IsUpper(c) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}

// TestHelperNumbers: names and numbers are those of cilium's table, which is
// made of the kernel's header.
func TestHelperNumbers(t *testing.T) {
	for num, h := range Helpers {
		if got := snake(asm.BuiltinFunc(num).String()); got != h.Name || num != h.Num {
			t.Errorf("helper %d, %s: cilium's name is %s", num, h.Name, got)
		}
	}
}

// TestHelperHeader: the same, by this machine's own header.
func TestHelperHeader(t *testing.T) {
	text, err := os.ReadFile("/usr/include/linux/bpf.h")
	if err != nil {
		skip.Missing(t, "linux/bpf.h")
	}
	_, list, ok := strings.Cut(string(text), "BPF_FUNC_MAPPER(FN")
	if !ok {
		skip.Missing(t, "a linux/bpf.h with a list of helpers")
	}
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^\s+FN\((\w+)(?:, (\d+),[^)]*)?\)`).FindAllStringSubmatch(list, -1) {
		names = append(names, m[1])
	}
	if names[0] != "unspec" {
		names = append([]string{"unspec"}, names...)
	}
	for num, h := range Helpers {
		if int(num) >= len(names) || names[num] != h.Name {
			t.Errorf("helper %d, %s: not in the header's list of %d", num, h.Name, len(names))
		}
	}
}

// TestHelperTable: conditions that each row satisfies.
func TestHelperTable(t *testing.T) {
	for num, h := range Helpers {
		if len(h.Args) > 5 {
			t.Errorf("%s: %d arguments", h.Name, len(h.Args))
		}
		for i, a := range h.Args {
			memory := i > 0 && (h.Args[i-1] == ArgMem || h.Args[i-1] == ArgMemOut || h.Args[i-1] == ArgMemNull)
			if size := a == ArgSize || a == ArgSize0; size != memory {
				t.Errorf("%s: argument %d: memory and its size go together", h.Name, i+1)
			}
			if (a == ArgKey || a == ArgValue) && h.Args[0] != ArgMap {
				t.Errorf("%s: argument %d belongs to no map", h.Name, i+1)
			}
			if a == ArgMap && len(h.Maps) == 0 {
				t.Errorf("%s: which maps?", h.Name)
			}
		}
		if !h.Engine || !h.Kernel {
			t.Errorf("%s: engine and kernel have all", h.Name)
		}
		if num == FnProbeWriteUser != (h.Needs&WriteMemory != 0) {
			t.Errorf("%s: needs %b", h.Name, h.Needs)
		}
	}
}
